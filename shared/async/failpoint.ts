/**
 * Failpoints: named places at which a test can let the process die as by SIGKILL, to prove that a restart recovers.
 * Nothing happens unless NEXUS_FAILPOINT names the place.
 */
const armed = process.env['NEXUS_FAILPOINT'];

export function failpoint(name: string): void {
  if (armed === name) process.kill(process.pid, 'SIGKILL');
}
