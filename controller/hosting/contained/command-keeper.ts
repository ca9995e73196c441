/**
 * The parent of a command over pipes. `exec` of an OCI runtime, called runc here, can't be: it only ends once no process holds the command's
 * output any more, including those that the command left running. So runc runs detached, and the keeper adopts the
 * command (as the nearest subreaper), copies its streams, and ends with the command, with its exit code, once it has
 * copied what was in the pipes then. It is in perl, because Node can neither wait for a process that it did not start
 * nor make a pipe; sockets, which Node gives its children, can't be opened as /dev/stderr.
 */
import { NexusError } from '../../../shared/errors.js';
import { ownOomScore } from '../../host/process-identity.js';
import { BY_FIRST_PROCESS, EXEC_FAILED } from '../start-failure.js';

interface Kept {
  /** As in the runtime's arguments. */
  readonly pidFile: string;
  /** The runtime's log file in JSON; the keeper appends failures after the runtime has ended. */
  readonly log: string;
  /** Name of the runtime's process in the node; see programs.ts. */
  readonly ownProcess: string;
}

/** Command line of the keeper of `runc exec --detach --pid-file <pidFile> ...`. `runc`: the words from `runc` on. */
export const keeperCommand = ({ pidFile, log, ownProcess }: Kept, runc: readonly string[]): readonly string[] => [
  'perl',
  '-e',
  KEEPER,
  String(prctlNumber()),
  // When the node runs out of memory its commands must be killed before its agent; their children inherit the score. A
  // higher score of the controller is kept, because lowering one may be forbidden.
  String(Math.max(COMMAND_OOM_SCORE, ownOomScore())),
  pidFile,
  log,
  BY_FIRST_PROCESS,
  ownProcess,
  String(EXEC_FAILED),
  ...runc,
];

export const COMMAND_OOM_SCORE = 500;

/** prctl's number by architecture: those on which FIONREAD has the number that the keeper uses. */
const PRCTL: Partial<Record<string, number>> = {
  x64: 157,
  arm64: 167,
  riscv64: 167,
  loong64: 167,
  arm: 172,
  s390x: 172,
};

function prctlNumber(): number {
  const number = PRCTL[process.arch];
  if (number !== undefined) return number;
  throw new NexusError(
    'failed_precondition',
    `commands can't be kept on ${process.arch}: its system calls are unknown`,
  );
}

const KEEPER = String.raw`
use strict;
use Errno qw(EAGAIN EINTR);
use Fcntl qw(F_SETFL O_NONBLOCK);

my ($prctl, $score, $pid_file, $log, $by_first, $own_process, $exec_failed, @runc) = @ARGV;
my ($SUBREAPER, $DEATHSIG, $KILL, $FIONREAD, $PIECE, $NOHANG, $BEGINS_SOON) = (36, 1, 9, 0x541B, 65536, 1, 0.01);
syscall(int($prctl), $SUBREAPER, 1, 0, 0, 0) == 0 or die "prctl: $!\n";
pipe(my $in, my $to_in) && pipe(my $from_out, my $out) && pipe(my $from_err, my $err) && pipe(my $woken, my $wake)
  or die "pipe: $!\n";
# Whoever the command becomes may open them by name, as /dev/stderr; they have no other name outside of it.
chmod 0666, $in, $out, $err;

# Signals are the command's; those that come before it is there wait for it.
my ($command, $begun, $code, @early, %ended) = (0, 0);
sub pass {
  my ($name) = @_;
  # Once it is waited for, its number may be another's.
  return if defined $ended{$command};
  kill $name, $command;
  # One that is stopped would not see that it was asked to end.
  kill 'CONT', $command if $name =~ /^(HUP|INT|QUIT|TERM)$/;
}
for my $name (grep { !/^(KILL|STOP|CHLD|CLD|PIPE|WINCH|__.*)$/ } keys %SIG) {
  $SIG{$name} = sub { $command ? pass($name) : push @early, $name };
}
$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = sub { syswrite $wake, '.' };

my $keeper = $$;
my $runc = fork;
defined $runc or die "fork: $!\n";
if ($runc == 0) {
  $SIG{PIPE} = 'DEFAULT';
  # A command that is killed while it is being started is not started after that.
  syscall(int($prctl), $DEATHSIG, $KILL, 0, 0, 0) == 0 && getppid() == $keeper or exit 126;
  if (open my $file, '>', '/proc/self/oom_score_adj') { print {$file} $score; close $file; }
  open(STDIN, '<&', $in) && open(STDOUT, '>&', $out) && open(STDERR, '>&', $err) or exit 126;
  exec {$runc[0]} @runc or exit 127;
}
close $_ for $in, $out, $err;

# What is read from "from" and not yet written to "to"; "left": bytes to copy until the end, once it is known.
my @copies = (
  { from => \*STDIN, to => $to_in, held => '' },
  { from => $from_out, to => \*STDOUT, held => '' },
  # Until the command has begun what is there may be runc's words.
  { from => $from_err, to => \*STDERR, held => '', waits => 1 },
);
fcntl($_, F_SETFL, O_NONBLOCK) for $woken, $wake, map { ($_->{from}, $_->{to}) } @copies;

sub end_copy {
  my ($copy) = @_;
  close $copy->{from} if $copy->{from};
  close $copy->{to} if $copy->{to};
  @$copy{'from', 'to', 'held'} = (undef, undef, '');
}
sub stop_reading {
  my ($copy) = @_;
  close $copy->{from} if $copy->{from};
  $copy->{from} = undef;
  end_copy($copy) if $copy->{held} eq '';
}
sub take {
  my ($copy) = @_;
  my $most = defined $copy->{left} && $copy->{left} < $PIECE ? $copy->{left} : $PIECE;
  my $got = $most == 0 ? 0 : sysread $copy->{from}, $copy->{held}, $most;
  return if !defined $got && ($!{EAGAIN} || $!{EINTR});
  $copy->{left} -= $got if $got && defined $copy->{left};
  stop_reading($copy) if !$got || (defined $copy->{left} && $copy->{left} == 0);
}
sub give {
  my ($copy) = @_;
  my $put = syswrite $copy->{to}, $copy->{held};
  return if !defined $put && ($!{EAGAIN} || $!{EINTR});
  return end_copy($copy) if !defined $put;
  substr($copy->{held}, 0, $put) = '';
  end_copy($copy) if $copy->{held} eq '' && !$copy->{from};
}
# The process is runc's own until the command takes its place, and ends with runc's words where the kernel refuses that.
# True once it is decided: the command has begun, or can't any more.
sub is_decided {
  return 1 if $begun;
  open(my $file, '<', "/proc/$command/stat") or return 0;
  my ($name, $state) = (<$file> // '') =~ /^\d+ \((.*)\) (\S)/s or return 0;
  $begun = $name ne $own_process;
  return $begun || $state eq 'Z';
}
sub reap_all {
  my ($which) = @_;
  while ((my $pid = waitpid($which, $NOHANG)) > 0) { $ended{$pid} = $?; }
}
sub say_why_not {
  sysread $copies[2]{from}, my $words, $PIECE;
  ($words //= '') =~ s/[\s[:cntrl:]]+/ /g;
  $words =~ s/([\\"])/\\$1/g;
  # A runtime that can write its log from in there has said all already.
  if ($words ne '' && open my $file, '>>', $log) { print {$file} qq({"level":"error","msg":"$by_first$words"}\n); close $file; }
  stop_reading($copies[2]);
}
sub reap {
  reap_all($runc) if !defined $ended{$runc};
  if (!$command && defined $ended{$runc}) {
    # What runc could not start it has no process id of, and its log has the words for people. Each program has codes of
    # its own for that.
    if ($ended{$runc} != 0) {
      stop_reading($copies[2]);
      return finish($ended{$runc} & 127 ? $ended{$runc} : $exec_failed << 8);
    }
    open(my $file, '<', $pid_file) or return finish(126 << 8);
    $command = int(<$file>);
    pass($_) for @early;
  }
  # Looked at before it is waited for: nobody can say after that whose it was.
  return if !$command || !is_decided();
  reap_all($begun ? -1 : $command);
  return if !defined $ended{$command};
  say_why_not() if !$begun && ($ended{$command} & 127) == 0;
  finish($ended{$command});
}
sub finish {
  my ($status) = @_;
  $code = $status & 127 ? 128 + ($status & 127) : $status >> 8;
  end_copy($copies[0]);
  for my $copy (@copies[1, 2]) {
    next if !$copy->{from};
    my $count = pack 'i', 0;
    ioctl($copy->{from}, $FIONREAD, $count) or die "FIONREAD: $!\n";
    $copy->{left} = unpack 'i', $count;
    stop_reading($copy) if $copy->{left} == 0;
  }
}

until (defined $code && !grep { $_->{from} || $_->{to} } @copies) {
  $copies[2]{waits} = 0 if $copies[2]{waits} && $command && (defined $code || (is_decided() && $begun));
  my ($reads, $writes) = ('', '');
  vec($reads, fileno $woken, 1) = 1;
  for (@copies) {
    if ($_->{held} ne '') { vec($writes, fileno $_->{to}, 1) = 1; }
    elsif ($_->{from} && !$_->{waits}) { vec($reads, fileno $_->{from}, 1) = 1; }
  }
  # Nothing tells that the command begins, right after runc's end.
  my $most = $command && $copies[2]{waits} ? $BEGINS_SOON : undef;
  next if select($reads, $writes, undef, $most) < 0;
  for my $copy (@copies) {
    if ($copy->{held} ne '') { give($copy) if vec($writes, fileno $copy->{to}, 1); }
    elsif ($copy->{from} && !$copy->{waits}) { take($copy) if vec($reads, fileno $copy->{from}, 1); }
  }
  if (vec($reads, fileno $woken, 1)) {
    sysread $woken, my $dots, $PIECE;
    reap();
  }
}
exit $code;
`;
