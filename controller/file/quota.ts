/** The quota of whoever has none set for them. */
import type { Settings } from '../../shared/config/settings.js';
import { MIB } from '../../shared/limits.js';
import { LOCAL_ADMINISTRATOR } from '../../shared/users.js';

/** Bytes; 0: none. The local administrator can set every quota, and has none to begin with. */
export const quotaOf = (user: string, settings: Pick<Settings, 'quotaMb'>): number =>
  user === LOCAL_ADMINISTRATOR ? 0 : settings.quotaMb * MIB;
