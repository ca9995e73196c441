/** The `nexus` command. Everything beyond this file and the runner is loaded when a command needs it. */
import '../shared/debugger-signal.js';
import { run } from './runner/command-runner.js';

// A umask says what others may do with the files of this user. One that takes them from their owner, too, would leave a
// cluster whose log nobody can read, and a session that can't be used.
process.umask(process.umask(0o077) & 0o077);

// A reader that goes away is seen by the write that fails; without a listener it would be a crash.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);

void run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
}).then((exitCode) => {
  // Standard input may be held open by a terminal that nobody types on any more.
  process.exit(exitCode);
});
