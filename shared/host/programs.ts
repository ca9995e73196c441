/** Programs that Nexus starts or copies: whether they are there, how old they are, and which package has them. */
import { traitsOf } from '../config/runtimes.js';
import { failed, passed, type HostCheck, type ProbeInput } from './report.js';
import { NO_ANSWER } from './sources.js';

export interface Program {
  readonly name: string;
  readonly versionArgs: readonly string[];
  /** Debian's package. */
  readonly package: string;
  /** Oldest version that works, where one is known not to. */
  readonly oldest?: string;
}

const CONTAINER_PROGRAMS: readonly Program[] = [
  { name: 'ip', versionArgs: ['-V'], package: 'iproute2' },
  { name: 'nft', versionArgs: ['--version'], package: 'nftables' },
  { name: 'mkfs.ext4', versionArgs: ['-V'], package: 'e2fsprogs' },
  { name: 'e2fsck', versionArgs: ['-V'], package: 'e2fsprogs' },
  { name: 'losetup', versionArgs: ['--version'], package: 'util-linux' },
  { name: 'setpriv', versionArgs: ['--version'], package: 'util-linux' },
  { name: 'mmdebstrap', versionArgs: ['--version'], package: 'mmdebstrap' },
  { name: 'busybox', versionArgs: ['--help'], package: 'busybox-static' },
  { name: 'perl', versionArgs: ['-v'], package: 'perl-base' },
];

// Whatever the runtime, one agent has a volume.
const FLOCK: Program = { name: 'flock', versionArgs: ['--version'], package: 'util-linux' };
// Decentralised JWT authentication of accounts in the server's memory works from 2.9.
const NATS: Program = { name: 'nats-server', versionArgs: ['--version'], package: 'nats-server', oldest: '2.9' };

const OLDEST_NODE = '20.19';

export async function probePrograms(input: ProbeInput): Promise<HostCheck[]> {
  const { settings } = input;
  const nats = settings.natsUrl === undefined ? [NATS] : [];
  const { program } = traitsOf(settings.runtime);
  const containers =
    program === undefined
      ? []
      : [{ ...program, versionArgs: ['--version'], package: program.name }, ...CONTAINER_PROGRAMS];
  const programs: readonly Program[] = [...containers, FLOCK, ...nats];
  return [
    nodeVersion(input),
    ...(await Promise.all(programs.map(async (program) => await probe(program, input)))),
    await postgres(input),
  ];
}

/** Never a failure: a cluster that is set to it has it elsewhere, and the tests bring it along. */
async function postgres({ sources }: ProbeInput): Promise<HostCheck> {
  const versions = await sources.list('/usr/lib/postgresql');
  return versions.length > 0
    ? passed('postgresql', `${versions.join(', ')}, for tests only`)
    : passed(
        'postgresql',
        'missing, for tests only',
        'to run the tests of the store on it: apt-get install postgresql',
      );
}

function nodeVersion({ sources }: ProbeInput): HostCheck {
  const found = sources.nodeVersion;
  return isOlder(found, OLDEST_NODE)
    ? failed('node', found, `Node.js ${OLDEST_NODE} or newer is needed`)
    : passed('node', found);
}

async function probe(program: Program, { sources }: ProbeInput): Promise<HostCheck> {
  const answer = await sources.run(program.name, program.versionArgs);
  const install = `apt-get install ${program.package}`;
  if (answer === undefined) return failed(program.name, 'missing', install);
  if (answer.exitCode === NO_ANSWER) {
    const asked = [program.name, ...program.versionArgs].join(' ');
    return failed(program.name, 'installed, but does not respond', `find out why it hangs: ${asked}`);
  }
  const version = versionIn(answer.output);
  if (version === undefined) {
    // A tool that is there and answers something else is as good as one that says its number.
    return answer.exitCode === 0 || program.oldest === undefined
      ? passed(program.name, 'there')
      : failed(program.name, `does not run (exit code ${answer.exitCode})`, `reinstall it: ${install}`);
  }
  if (program.oldest !== undefined && isOlder(version, program.oldest)) {
    return failed(program.name, version, `version ${program.oldest} or newer is needed`);
  }
  return passed(program.name, version);
}

/** The first thing that looks like a version: `2.38.1` of `losetup from util-linux 2.38.1`. */
export const versionIn = (output: string): string | undefined => /\d+(?:\.\d+)+/.exec(output)?.[0];

/** Compares numbered parts; what a version lacks counts as 0. */
export function isOlder(version: string, than: string): boolean {
  const parts = version.split('.').map(Number);
  for (const [index, wanted] of than.split('.').map(Number).entries()) {
    const part = parts[index] ?? 0;
    if (part !== wanted) return part < wanted;
  }
  return false;
}
