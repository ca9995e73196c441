/**
 * Finds clean-ups that could replace the failure that people have to be told: what is awaited in `finally`, or on the
 * way to a `throw` within `catch`. Follows the branches of a handler, since a retry may wait after its last throw.
 */

const NEVER_REJECTED = ['catch', 'allSettled'];

/** An event that can't be stored is logged (controller/events/log.ts). */
const NEVER_REJECTS = 'events';

/** Whether the awaited promise is never rejected. */
function isHarmless({ argument }) {
  const { callee } = argument.type === 'ChainExpression' ? argument.expression : argument;
  return NEVER_REJECTED.includes(callee?.property?.name) || callee?.object?.property?.name === NEVER_REJECTS;
}

/** Listeners of an ESLint rule; `report` is called once for each expression. */
export function maskedErrors(report, { visitorKeys }) {
  const reported = new Set();
  const tell = (node) => {
    if (!reported.has(node)) report(node);
    reported.add(node);
  };

  /** Follows the node; `awaited` is what was awaited before it. Returns that after it; undefined: nothing comes after it. */
  const follow = (node, awaited) => {
    switch (node.type) {
      case 'FunctionDeclaration':
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
        return awaited;
      case 'ThrowStatement':
        // What words the error is awaited to throw its result.
        awaited.forEach(tell);
        return undefined;
      case 'ReturnStatement':
      case 'BreakStatement':
      case 'ContinueStatement':
        return undefined;
      case 'TryStatement':
        // What a handler catches replaces nothing; the handler is examined for itself.
        return node.handler === null ? followAll([node.block, node.finalizer], awaited) : awaited;
      case 'IfStatement': {
        const tested = follow(node.test, awaited);
        const branches = [node.consequent, node.alternate].map((branch) => (branch ? follow(branch, tested) : tested));
        return joined(branches);
      }
      case 'SwitchStatement': {
        const tested = follow(node.discriminant, awaited);
        const bodies = node.cases.map(({ consequent }) => consequent.filter(({ type }) => type !== 'BreakStatement'));
        return joined([tested, ...bodies.map((body) => followAll(body, tested))]);
      }
      case 'AwaitExpression': {
        const inner = follow(node.argument, awaited);
        return isHarmless(node) ? inner : [...inner, node];
      }
      default:
        return followAll(
          visitorKeys[node.type].flatMap((key) => node[key] ?? []),
          awaited,
        );
    }
  };
  const followAll = (nodes, awaited) => {
    let after = awaited;
    for (const node of nodes) {
      after = follow(node, after);
      if (after === undefined) return undefined;
    }
    return after;
  };
  const joined = (branches) => {
    const open = branches.filter((branch) => branch !== undefined);
    return open.length === 0 ? undefined : [...new Set(open.flat())];
  };

  return {
    'TryStatement > .finalizer AwaitExpression': (node) => {
      if (!isHarmless(node)) tell(node);
    },
    CatchClause: ({ body }) => follow(body, []),
  };
}
