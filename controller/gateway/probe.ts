/** Looks at a gateway from outside, as its clients would. */
import { get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';
import { after, cancel } from '../../shared/async/timers.js';
import { outcome } from '../../shared/async/wait.js';

/** Whether the gateway at this address answers: one that hangs still takes connections. Never fails. */
export function isHealthy(url: string, timeoutMs: number): Promise<boolean> {
  const get = url.startsWith('https:') ? getHttps : getHttp;
  return outcome((resolve) => {
    // Its certificate is for its clients: here it is known by its process.
    const options = { rejectUnauthorized: false, agent: false };
    const timer = after(timeoutMs, () => resolve(false));
    const request = get(`${url}/healthz`, options, (response) => {
      resolve(response.statusCode === 200);
    });
    request.on('error', () => {
      resolve(false);
    });
    return () => {
      cancel(timer);
      request.destroy();
    };
  });
}
