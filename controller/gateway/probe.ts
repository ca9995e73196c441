/** Looks at a gateway from outside, as its clients would. Neither fails: what cannot be reached is not there. */
import { get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';
import { createConnection } from 'node:net';

/** Whether anybody takes connections there. */
export function isListening(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port, timeout: timeoutMs });
    const done = (isOpen: boolean) => () => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', done(true));
    socket.once('error', done(false));
    socket.once('timeout', done(false));
  });
}

/** Whether the gateway at this address answers: one that hangs still takes connections. */
export function isHealthy(url: string, timeoutMs: number): Promise<boolean> {
  const get = url.startsWith('https:') ? getHttps : getHttp;
  return new Promise((resolve) => {
    // Its certificate is for its clients: here it is known by its process.
    const options = { rejectUnauthorized: false, agent: false, signal: AbortSignal.timeout(timeoutMs) };
    get(`${url}/healthz`, options, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => {
      resolve(false);
    });
  });
}
