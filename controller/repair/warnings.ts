/** Warnings for operators about missing copies, with advice. Pure. */
import type { Advice } from '../../shared/advice/advice.js';
import { someOf, warn, type Warning } from '../cause/warnings.js';

export interface WatchedRepair {
  /** Chunks that can't be read now. */
  readonly lostChunks: number;
  /** Some of the files in trouble, the worst first. */
  readonly lostFiles: readonly string[];
  readonly filesInTrouble: { readonly unavailable: number; readonly damaged: number; readonly lost: number };
  readonly blocked: readonly string[];
  /** Names of the nodes that have copies of these chunks. */
  readonly holders: readonly string[];
}

export function repairWarnings({ lostChunks, lostFiles, filesInTrouble, blocked, holders }: WatchedRepair): Warning[] {
  const { unavailable, damaged, lost } = filesInTrouble;
  const counts = [
    ...(lost > 0 ? [`${lost} lost`] : []),
    ...(damaged > 0 ? [`${damaged} damaged`] : []),
    ...(unavailable > 0 ? [`${unavailable} unavailable`] : []),
  ];
  const remedy =
    unavailable > 0
      ? `; start or restart the nodes that ${holders.length === 0 ? 'are down' : `have them: ${someOf(holders)}`}`
      : '';
  const advice: Advice[] = lost + damaged > 0 ? [{ key: 'list-lost-files' }] : [];
  return [
    ...(lostChunks === 0
      ? []
      : [
          warn(
            'chunks-unreadable',
            `${lostChunks} chunk(s) cannot be read now, of ${counts.join(', ')} file(s): ${lostFiles.join(', ')}${lostFiles.length > 2 ? ' ...' : ''}${remedy}`,
            ...advice,
          ),
        ]),
    ...blocked.map((why) => warn('repair-blocked', `some chunks lack copies and cannot be repaired: ${why}`)),
  ];
}
