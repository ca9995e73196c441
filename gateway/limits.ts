/** What bounds a client: the gateway's own settings in the form that its parts want. */
import type { Settings } from '../shared/config/settings.js';
import { MIB } from '../shared/limits.js';

export interface GatewayLimits {
  readonly headerTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  /** Within which a transfer must go on. */
  readonly stallMs: number;
  readonly drainMs: number;
  /** 0: none. */
  readonly maxUploadBytes: number;
  readonly transfers: number;
}

export const limitsOf = (settings: Settings): GatewayLimits => ({
  headerTimeoutMs: settings.gatewayHeaderTimeoutMs,
  bodyTimeoutMs: settings.gatewayBodyTimeoutMs,
  stallMs: settings.gatewayStallMs,
  drainMs: settings.gatewayDrainMs,
  maxUploadBytes: settings.gatewayMaxUploadMb * MIB,
  transfers: settings.gatewayTransfers,
});
