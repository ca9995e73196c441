/** The error for people about a program that failed: our words and a code; its own are kept for the log. */
import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { toNexusError, type NexusError } from '../../shared/errors.js';
import { runCommand } from '../../shared/exec.js';
import { toolFailure } from '../../shared/tool-failure.js';

const failed = (said: string): NexusError =>
  toolFailure('the bridge nx-a cannot be made', { program: 'ip', verb: 'link', exitCode: 2, said });

describe('a tool that fails', () => {
  for (const [said, code, reason] of [
    ['mkfs.ext4: No space left on device while writing', 'resource_exhausted', /disk is full; make room/],
    ['RTNETLINK answers: Operation not permitted', 'failed_precondition', /does not allow it; see nexus doctor/],
    [
      'RTNETLINK answers: File exists\nCommand failed -:1',
      'failed_precondition',
      /something else .* uses it already; see nexus doctor/,
    ],
    ['Error: Unknown device type.', 'failed_precondition', /kernel does not have it/],
    ['mount: /x: Input/output error.', 'unavailable', /disk reports errors/],
    ['fork: Cannot allocate memory', 'resource_exhausted', /no memory left/],
    ['time="..." level=error msg="gibberish"', 'internal', /ip ended with exit code 2; .*nexus doctor/],
  ] as const) {
    it(`is told in our words where it says: ${said.split('\n')[0] ?? ''}`, () => {
      const error = failed(said);
      expect(error.code).to.equal(code);
      expect(inCommandWords(error))
        .to.match(/^the bridge nx-a cannot be made: /)
        .and.match(reason);
      for (const line of said.split('\n')) expect(error.message).not.to.include(line);
      expect((error.cause as Error).message).to.include(said.split('\n')[0]);
    });
  }

  it('leaves its words in the details, cleaned and cut', () => {
    const { details } = failed(`\u001b[2J${'x'.repeat(10_000)}`);
    expect(details).to.include({ program: 'ip', exit_code: 2 });
    expect(String(details['detail']))
      .to.have.length(300)
      .and.match(/^\?\[2Jx+…$/);
  });

  it('is told as itself by whoever runs it, and one that is not there with what to do', async () => {
    const failure = 'the volume cannot be formatted';
    const error = await runCommand('sh', ['-c', 'echo words >&2; exit 3'], { failure }).catch(toNexusError);
    expect(error).to.include({ code: 'internal' });
    expect((error as NexusError).message).to.match(/^the volume cannot be formatted: sh ended with exit code 3; /);
    expect((error as NexusError).details).to.include({ program: 'sh', detail: 'words', exit_code: 3 });
    const absent = (await runCommand('/nonexistent', [], { failure }).catch(toNexusError)) as NexusError;
    expect(absent.code).to.equal('not_found');
    expect(inCommandWords(absent))
      .to.match(/nexus doctor/)
      .and.not.include('ENOENT');
  });

  it('has a name for errors of the kernel that Node knows by number only', () => {
    const thrown = Object.assign(new Error("Unknown system error -74: Unknown system error -74, scandir '/data'"), {
      errno: -74,
      code: 'Unknown system error -74',
    });
    expect(toNexusError(thrown).message).to.equal("EBADMSG, scandir '/data'");
    const quota = Object.assign(new Error('Unknown system error -122: Unknown system error -122, write'), {
      errno: -122,
    });
    expect(toNexusError(quota).code).to.equal('resource_exhausted');
  });
});
