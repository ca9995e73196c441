/** StateService: exports, imports and rebuilds the state. */
import type { sendUnaryData, ServerReadableStream } from '@grpc/grpc-js';
import { inCommandWords } from '../../../shared/advice/command-words.js';
import { NexusError } from '../../../shared/errors.js';
import type {
  ImportStateRequest,
  ImportStateResponse,
  RebuildSummary,
  RebuiltFile as RebuiltFileShape,
  StateServiceServer,
} from '../../../shared/gen/nexus/v1/state.js';
import { MIB } from '../../../shared/limits.js';
import { statusOf } from '../../../shared/rpc/status.js';
import { documentPieces, type DocumentSource } from '../../state/document.js';
import { importState, type Imported } from '../../state/import.js';
import type { RebuiltFile } from '../../state/rebuild-plan.js';
import { rebuildState, type RebuildDeps, type Rebuilt } from '../../state/rebuild.js';
import type { Edge } from '../admission.js';
import { admitted, serverStream } from '../handlers.js';

/** Enough for a million files with one chunk each. */
const MAX_DOCUMENT_BYTES = 512 * MIB;
/** UTF-16 units in one message: at most 1.5 MiB, far below gRPC's 4 MiB. */
const PIECE_CHARACTERS = 512 * 1024;

export function stateServiceHandlers(deps: RebuildDeps, source: DocumentSource, edge: Edge): StateServiceServer {
  return {
    exportState: serverStream(edge, async (_request, { signal, send }) => {
      for await (const piece of documentPieces(source)) {
        signal.throwIfAborted();
        for (let at = 0; at < piece.length; at += PIECE_CHARACTERS)
          await send({ data: Buffer.from(piece.slice(at, at + PIECE_CHARACTERS)) });
      }
    }),
    importState: (
      call: ServerReadableStream<ImportStateRequest, ImportStateResponse>,
      callback: sendUnaryData<ImportStateResponse>,
    ) => {
      admitted(
        edge,
        call,
        async () => importState(deps, await received(call)),
        (imported) => {
          callback(null, importedShape(imported));
        },
        (error) => {
          callback(statusOf(error));
        },
      );
    },
    rebuildState: serverStream(edge, async ({ plan }, { signal, send }) => {
      const rebuilt = await rebuildState(deps, { plan, signal }, (progress) => send({ progress }));
      await send({ summary: rebuildSummary(rebuilt, plan) });
    }),
  };
}

async function received(call: ServerReadableStream<ImportStateRequest, ImportStateResponse>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const { data } of call as AsyncIterable<ImportStateRequest>) {
    size += data.length;
    if (size > MAX_DOCUMENT_BYTES) {
      throw new NexusError('resource_exhausted', `a state may have ${MAX_DOCUMENT_BYTES / MIB} MB at most`);
    }
    pieces.push(data);
  }
  if (call.cancelled) throw new NexusError('cancelled', 'the caller went away');
  return Buffer.concat(pieces).toString('utf8');
}

const importedShape = ({ nodes, files, entries, warnings }: Imported): ImportStateResponse => ({
  nodes,
  files: BigInt(files),
  entries: BigInt(entries),
  warnings: warnings.map(inCommandWords),
});

/** A plan starts no node, so it does not include the contents of nodes that would be adopted. */
export function rebuildSummary({ nodes, files, warnings }: Rebuilt, isPlan: boolean): RebuildSummary {
  const unseen =
    isPlan && nodes.length > 0
      ? ['the files on nodes that would be adopted are not known yet: a rebuild without --plan finds them']
      : [];
  return { nodes: [...nodes], files: files.map(rebuiltShape), warnings: [...warnings, ...unseen].map(inCommandWords) };
}

const rebuiltShape = ({ file, verdict, missing }: RebuiltFile): RebuiltFileShape => ({
  id: file.id,
  name: file.name,
  owner: file.owner,
  size: BigInt(file.size),
  verdict,
  missingChunks: [...missing],
});
