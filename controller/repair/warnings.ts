/** What an operator should know about copies that are missing, with what to do. Pure. */
export interface WatchedRepair {
  readonly lostChunks: number;
  /** Some of their files. */
  readonly lostFiles: readonly string[];
  readonly blocked: readonly string[];
}

export function repairWarnings({ lostChunks, lostFiles, blocked }: WatchedRepair): string[] {
  return [
    ...(lostChunks === 0
      ? []
      : [
          `${lostChunks} chunk(s) have no whole copy that can be read now, of file ${lostFiles.join(', ')}${lostFiles.length > 2 ? ' ...' : ''}; start or restart the nodes that are down; where none is, the copies are damaged or gone: nexus file verify ID tells`,
        ]),
    ...blocked.map((why) => `some chunks lack copies and cannot be repaired: ${why}`),
  ];
}
