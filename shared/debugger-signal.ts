/**
 * SIGUSR1 opens Node's debugger on loopback, where any local user runs code as this process. A listener takes the signal
 * away from it. Until the listener is set, the flags below keep a debugger from finding an address to listen on: they
 * belong to each start of Node by us. Imported first by every main.ts.
 */

/** TEST-NET-1 (RFC 5737) is no host's address. `--disable-sigusr1` would do, and Node 20 does not know it. */
export const NO_DEBUGGER = '--inspect-port=192.0.2.1:65535';

process.on('SIGUSR1', () => undefined);
