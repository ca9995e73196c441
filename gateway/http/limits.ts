/** Limits for clients: the gateway's own settings in the form that its parts need. */
import type { Settings } from '../../shared/config/settings.js';
import { MIB } from '../../shared/limits.js';

export interface GatewayLimits {
  readonly headerTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  /** Time within which a transfer must make progress. */
  readonly stallMs: number;
  readonly drainMs: number;
  /** 0: no limit. */
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
