/**
 * Runs a command on one node or several: each is tried, whatever happens to the rest. For one name the result is the
 * node itself, as scripts rely on; for several it is a list.
 */
import type { Node } from '../../shared/gen/nexus/v1/node.js';
import type { Context } from '../runner/context.js';
import { expectNode } from './node-text.js';
import { onEach } from '../runner/several.js';
import { widthOf } from '../terminal/output.js';
import { nodeShape } from '../runner/shapes.js';

export async function eachNode(
  context: Context,
  names: readonly string[],
  act: (name: string) => Promise<{ readonly node?: Node | undefined }>,
  asText: (node: Node, width: number) => string,
): Promise<number> {
  return await onEach(context, names, async (name) => expectNode((await act(name)).node), {
    shape: nodeShape,
    text: (node) => asText(node, widthOf(context.streams.stdout)),
    between: asText === oneLine ? '\n' : '\n\n',
  });
}

/** Describes the node's state after a command. */
export const oneLine = (node: Node): string =>
  `node ${node.name} is ${node.status}${node.cordoned ? ' and cordoned' : ''}`;
