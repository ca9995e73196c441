/**
 * The house rules that can be checked in a syntax tree, for eslint.config.js: each with the files that it does not apply to,
 * and why. docs/contributing.md lists them by name. test/unit/house-rules.test.ts shows what each one finds and leaves.
 */

/** Calls whose promise is never rejected; an event that can't be stored is logged (controller/events/log.ts). */
const NEVER_REJECTED = [
  ":not([argument.callee.property.name='catch'])",
  ":not([argument.expression.callee.property.name='catch'])",
  ":not([argument.callee.property.name='allSettled'])",
  ":not([argument.callee.object.property.name='events'])",
].join('');
const KINDS = '/^(runc|crun|process|contained)$/';
const ENDS = '/^(stop|end|dispose|shutdown|terminate|teardown|quit)$/';
const BOUNDS = '/^(MAX|MIN|MOST)_/';
const COMMANDS =
  '/(^|[^-_.\\/\\w])nexus (up|down|doctor|status|events|tour|node|agent|file|fs|lambda|image|user|state|login)\\b/';
const SEARCHES = '/^(includes|startsWith|endsWith|match|search|indexOf)$/';

/** @type {readonly { name: string, selectors: readonly string[], message: string, except?: readonly string[] }[]} */
export const HOUSE_RULES = [
  {
    // Stands first: later exceptions name single files, some of them below these folders.
    name: 'advice is data',
    selectors: [`:matches(Literal[value=${COMMANDS}], TemplateElement[value.cooked=${COMMANDS}])`],
    message: 'give a key of shared/advice/advice.ts; command-words.ts has the words of the command line',
    // Edges: the command line itself, the one table of its words, and the checks that are the text of `nexus doctor`.
    except: ['cli/**/*.ts', 'shared/advice/command-words.ts', 'shared/host/**/*.ts'],
  },
  {
    // A clean-up that fails must not replace the failure that people have to be told.
    name: 'errors are not masked',
    selectors: [
      `TryStatement > .finalizer AwaitExpression${NEVER_REJECTED}`,
      `CatchClause > BlockStatement:has(> ThrowStatement) > :not(ThrowStatement) AwaitExpression${NEVER_REJECTED}`,
    ],
    message:
      'what is awaited here could fail in the place of the error that is on its way: add .catch, and a line in the log where it matters',
  },
  {
    // `can` of its hosting, and of its runtime, says what a node can do.
    name: 'nobody asks what a node is made of',
    selectors: [
      `BinaryExpression[operator=/^[!=]==?$/]:matches([left.value=${KINDS}], [right.value=${KINDS}])`,
      'Identifier[name=/^(isContained|agentCgroup|usesLoopDevices)$/]',
    ],
    message: 'ask the hosting what it can do (controller/hosting/port.ts, shared/config/runtimes.ts), not what it is',
    except: ['controller/hosting/**/*.ts'],
  },
  {
    name: 'waits end',
    selectors: [
      'CallExpression[callee.name=/^(set|clear)(Timeout|Interval)$/]',
      'ImportDeclaration[source.value=/^(node:)?timers(\\u002Fpromises)?$/] ImportSpecifier[imported.name=/^(setTimeout|setInterval|scheduler)$/]',
      "NewExpression[callee.name='Promise']",
      "CallExpression[callee.property.name=/^(add|remove)EventListener$/][arguments.0.value='abort']",
      "MemberExpression[object.name='AbortSignal'][property.name='any']",
    ],
    message: 'use within, endsWithin, until, outcome, onAbort, sleep, after or every (shared/async)',
    // The toolbox itself.
    except: ['shared/async/*.ts'],
  },
  {
    name: 'the time is read from the clock',
    selectors: [
      "MemberExpression[object.name=/^(Date|performance)$/][property.name='now']",
      "NewExpression[callee.name='Date'][arguments.length=0]",
      "MemberExpression[object.name='process'][property.name='hrtime']",
    ],
    message: 'use the Clock that was passed in, or systemClock (shared/async/clock.ts)',
    except: ['shared/async/*.ts'],
  },
  {
    name: 'children are started in one place',
    selectors: [
      'ImportDeclaration[source.value=/^(node:)?child_process$/]',
      "Property[key.name='shell'][value.value=true]",
    ],
    message: 'use tryCommand, runCommand or startChild (shared/exec.ts), without a shell',
    except: ['shared/exec.ts'],
  },
  {
    name: 'bounds that several files need stand in limits',
    selectors: [`ExportNamedDeclaration > VariableDeclaration > VariableDeclarator[id.name=${BOUNDS}]`],
    message: 'put it into shared/limits.ts, or into limits.ts or bounds.ts of the capability',
    except: ['**/limits.ts', '**/bounds.ts'],
  },
  {
    name: 'codes are matched, never texts',
    selectors: [
      "BinaryExpression[operator=/^[!=]==?$/][left.property.name='message'][right.type=/^(Literal|TemplateLiteral)$/]",
      `CallExpression[callee.object.property.name='message'][callee.property.name=${SEARCHES}]`,
      "CallExpression[callee.property.name=/^(test|exec)$/][arguments.0.property.name='message']",
    ],
    message: 'compare the code, or a field of the details: a message is for people and may change',
    // Composes a line for people: whether a name is in it already is a question about the text.
    except: ['cli/runner/several.ts'],
  },
  {
    // Verbs on something else have parameters: NodeService.stop(reference).
    name: 'things are closed or destroyed',
    selectors: [
      `MethodDefinition[kind='method'][key.name=${ENDS}][value.params.length=0]`,
      `TSMethodSignature[key.name=${ENDS}][params.length=0]`,
    ],
    message: 'call it close (what runs ends in order) or destroy (at once, or for good), or use [Symbol.dispose]',
  },
];

/** Entries of eslint.config.js: a file keeps every rule whose exceptions do not name it. */
export function houseRulesConfig(files, ignores) {
  const excepted = [...new Set(HOUSE_RULES.flatMap(({ except = [] }) => except))];
  const without = (pattern) =>
    HOUSE_RULES.filter(({ except = [] }) => pattern === undefined || !except.includes(pattern));
  const entry = (pattern) => ({
    files: pattern === undefined ? files : [pattern],
    ignores,
    rules: {
      'no-restricted-syntax': [
        'error',
        ...without(pattern).flatMap(({ name, selectors, message }) =>
          selectors.map((selector) => ({ selector, message: `${name}: ${message}` })),
        ),
      ],
    },
  });
  return [entry(undefined), ...excepted.map(entry)];
}
