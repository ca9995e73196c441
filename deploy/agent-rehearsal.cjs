/**
 * For bytecode.cjs: a place in which an agent starts completely. There is a volume, a configuration and a server that takes what
 * the agent says on the bus; the process ends with the first heartbeat.
 */
'use strict';
const { generateKeyPairSync } = require('node:crypto');
const { mkdirSync, mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { createServer } = require('node:net');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { encodeUser, fmtCreds } = require('@nats-io/jwt');
const { createAccount, createUser } = require('@nats-io/nkeys');

/** Two commands of the protocol are enough: who has connected asks once whether the server is there. */
const greeting = `INFO ${JSON.stringify({ server_id: 'rehearsal', version: '2.9.10', proto: 1, headers: true, max_payload: 1 << 20, nonce: 'rehearsal' })}\r\n`;

const server = createServer((socket) => {
  socket.write(greeting);
  socket.on('error', () => undefined);
  socket.on('data', (data) => {
    const said = data.toString('latin1');
    if (said.includes('PING\r\n')) socket.write('PONG\r\n');
    // What the agent does after its first heartbeat it has done by now: it was one turn.
    if (/^PUB \S+\.heartbeat /m.test(said)) process.exit(0);
  });
});

module.exports = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-rehearsal-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const user = createUser();
  const dataDir = join(folder, 'data');
  for (const name of ['', 'chunks', 'tmp', '.agent']) mkdirSync(join(dataDir, name), { recursive: true });
  writeFileSync(join(folder, 'agent.creds'), fmtCreds(await encodeUser('rehearsal', user, createAccount()), user));
  const { publicKey } = generateKeyPairSync('ed25519');
  const places = { dataDir, volume: { kind: 'mounted' }, cgroup: 'none' };
  const config = {
    ...places,
    nodeId: '0123456789ab',
    nodeName: 'rehearsal',
    instance: 'rehearsal',
    natsUrl: `nats://127.0.0.1:${server.address().port}`,
    credsFile: join(folder, 'agent.creds'),
    tokenPublicKey: publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64'),
    host: '127.0.0.1',
    port: 0,
    statusSocket: { path: join(folder, 'agent.sock') },
    networkInterface: 'lo',
  };
  mkdirSync(join(folder, 'run'));
  writeFileSync(join(folder, 'places.json'), JSON.stringify(places));
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(config));
  process.env.NEXUS_AGENT_CONFIG = join(folder, 'agent.json');
  process.env.NEXUS_AGENT_WAITING = join(folder, 'run', 'waiting');
};
