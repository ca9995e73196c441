/**
 * Where a person is logged in: one file of theirs, readable by nobody else, replaced as a whole. It holds a token for
 * each gateway, and which of them commands go to.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, open, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { NexusError } from '../../shared/errors.js';
import { systemError } from '../local/system-error.js';

const sessionSchema = z.object({
  /** Scheme, host and port of the gateway. */
  url: z.string(),
  username: z.string(),
  token: z.string(),
  /** RFC 3339. */
  expires_at: z.string(),
  /** PEM file of the authority that signed the gateway's certificate; none: those that Node knows. */
  ca_file: z.string().optional(),
});

export type SavedSession = z.infer<typeof sessionSchema>;

/** One record that makes no sense is a log-in that has ended; the others are as good as before. */
const fileSchema = z.object({
  /** The URL that commands go to; none: this machine's own cluster. */
  current: z.string().optional(),
  sessions: z.array(z.unknown()),
});

interface Contents {
  readonly current?: string | undefined;
  readonly sessions: readonly SavedSession[];
}

const NOTHING: Contents = { sessions: [] };
/** Far longer than the sessions of a person. */
const MAX_BYTES = 1024 * 1024;

export class SessionFile {
  readonly path: string;

  constructor(env: NodeJS.ProcessEnv) {
    const config = env['XDG_CONFIG_HOME'];
    const folder = config !== undefined && config.startsWith('/') ? config : join(env['HOME'] ?? homedir(), '.config');
    this.path = join(folder, 'nexus', 'sessions.json');
  }

  /** The session that commands go through when nothing else is said. Code: failed_precondition (the file is unusable). */
  current(): SavedSession | undefined {
    const { current, sessions } = this.#read();
    const found = sessions.find(({ url }) => url === current);
    // Never to this machine's cluster instead, which is not the one that is meant.
    if (found === undefined && current !== undefined)
      throw new NexusError(
        'failed_precondition',
        `${this.path} has no readable session at ${current}; log in again: nexus login ${current}`,
      );
    return found;
  }

  /** Code: as `current`. */
  find(url: string): SavedSession | undefined {
    return this.#read().sessions.find((session) => session.url === url);
  }

  /** In place of an older one of the same gateway; commands go there from now on. */
  async save(session: SavedSession): Promise<void> {
    const { sessions } = this.#read();
    const others = sessions.filter(({ url }) => url !== session.url);
    await this.#write({ current: session.url, sessions: [...others, session] });
  }

  /** Commands go to this machine's own cluster again, if they went there. */
  async remove(removed: string): Promise<void> {
    const { current, sessions } = this.#read();
    await this.#write({
      ...(current === undefined || current === removed ? {} : { current }),
      sessions: sessions.filter(({ url }) => url !== removed),
    });
  }

  #read(): Contents {
    const text = this.#text();
    if (text === undefined) return NOTHING;
    const parsed = fileSchema.safeParse(parseJson(text));
    if (parsed.success) {
      const sessions = parsed.data.sessions.flatMap((record) => {
        const session = sessionSchema.safeParse(record);
        return session.success ? [session.data] : [];
      });
      return { current: parsed.data.current, sessions };
    }
    throw new NexusError('failed_precondition', `${this.path} is damaged; remove it and log in again: nexus login URL`);
  }

  /** Undefined: there is none. A token that others could read may be theirs by now. */
  #text(): string | undefined {
    try {
      const { mode, size } = statSync(this.path);
      if ((mode & 0o077) === 0) return size > MAX_BYTES ? '' : readFileSync(this.path, 'utf8');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw systemError(error, `cannot read ${this.path}`, 'add --local to reach the cluster of this machine');
    }
    throw new NexusError(
      'failed_precondition',
      `${this.path} can be read by others; make it yours alone with: chmod 600 ${this.path}`,
    );
  }

  async #write(contents: Contents): Promise<void> {
    const temporary = `${this.path}.${randomBytes(4).toString('hex')}`;
    try {
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(`${JSON.stringify(contents, null, 2)}\n`);
        await file.sync();
      } finally {
        await file.close().catch(() => undefined);
      }
      // A permissive umask takes nothing away, a strict one could.
      await chmod(temporary, 0o600);
      await rename(temporary, this.path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw systemError(error, `cannot write ${this.path}`, 'set XDG_CONFIG_HOME to a folder of yours');
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
