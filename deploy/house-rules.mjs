/**
 * The house rules that can be checked in a syntax tree, for eslint.config.js: each with the files that it does not apply to,
 * and why. docs/contributing.md lists them by name. test/unit/house-rules.test.ts shows what each one finds and leaves.
 */
import { readFileSync } from 'node:fs';
import { maskedErrors } from './masked-errors.mjs';

const RUNTIMES = readFileSync(new URL('../shared/config/runtimes.ts', import.meta.url), 'utf8');
/** Names of runtimes and of kinds of hosting, as their table has them. */
const KIND_NAMES = [
  ...new Set([...RUNTIMES.matchAll(/^ {2}(\w+): \{|hosting: '(\w+)'/gm)].map((row) => row[1] ?? row[2])),
];
if (KIND_NAMES.length < 4) throw new Error(`shared/config/runtimes.ts: only ${KIND_NAMES.join(', ')} were found`);
const KINDS = `/^(${KIND_NAMES.join('|')})$/`;
/** A regular expression may speak of processes. */
const IN_PATTERNS = `/\\b(${KIND_NAMES.filter((name) => name !== 'process').join('|')})\\b/`;
const SENTINELS = '/^(isContained|agentCgroup|usesLoopDevices|loopDevice)$/';
const ENDS = '/^(stop|end|dispose|shutdown|terminate|teardown|quit)$/';
const BOUNDS = '/^(MAX|MIN|MOST)_/';
const COMMANDS =
  '/(^|[^-_.\\/\\w])nexus (up|down|doctor|status|events|tour|node|agent|file|fs|lambda|image|user|state|login)\\b/';
const SEARCHES = '/^(includes|startsWith|endsWith|match|search|indexOf)$/';
const TIMERS = '/^(set|clear)(Timeout|Interval)$/';
const TIMER_MODULES = '/^(node:)?timers(\\u002Fpromises)?$/';
const CHILD_MODULES = '/^(node:)?child_process$/';
const TEXT = '/^(Literal|TemplateLiteral)$/';
const FUNCTION = '/^(Arrow)?FunctionExpression$/';

/** `listeners`: makes those of a rule that follows statements, in place of `selectors`. */
export const HOUSE_RULES = [
  {
    name: 'advice is data',
    selectors: [`:matches(Literal[value=${COMMANDS}], TemplateElement[value.cooked=${COMMANDS}])`],
    message: 'give a key of shared/advice/advice.ts; command-words.ts has the words of the command line',
    // Edges: the command line itself, the one table of its words, and the checks that are the text of `nexus doctor`.
    except: ['cli/**/*.ts', 'shared/advice/command-words.ts', 'shared/host/**/*.ts'],
  },
  {
    name: 'errors are not masked',
    listeners: maskedErrors,
    message:
      'what is awaited here could fail in the place of the error that is on its way: add .catch, and a line in the log where it matters',
  },
  {
    // `can` of its hosting, and of its runtime, says what a node can do.
    name: 'nobody asks what a node is made of',
    selectors: [
      `:matches(Literal[value=${KINDS}], TemplateElement[value.cooked=${KINDS}], Literal[regex.pattern=${IN_PATTERNS}])`,
      // A key of a message may have the name; it asks for nothing.
      `:matches(MemberExpression > Identifier[name=${SENTINELS}], Property[shorthand=true] > Identifier[name=${SENTINELS}], Literal[value=${SENTINELS}])`,
      "MemberExpression[property.name='kind']:matches([object.name='hosting'], [object.property.name='hosting'])",
      "MemberExpression[computed=false][object.name='RUNTIMES']",
    ],
    message: 'ask the hosting what it can do (controller/hosting/port.ts, shared/config/runtimes.ts), not what it is',
    except: [
      'controller/hosting/**/*.ts',
      // The table of kinds, the default, and the migration of records that were kept by sentinels.
      'shared/config/runtimes.ts',
      'shared/config/settings.ts',
      'controller/store/migrations/0006-hosting.ts',
    ],
  },
  {
    name: 'waits end',
    selectors: [
      `Identifier[name=${TIMERS}]:not(ImportSpecifier > *):not(MemberExpression > .property)`,
      `MemberExpression[object.name=/^(globalThis|global)$/][property.name=${TIMERS}]`,
      // A socket's own, with what to do then, has neither the signal nor the end of a wait.
      `CallExpression[callee.property.name=${TIMERS}][arguments.length>1]`,
      `MemberExpression > Literal[value=${TIMERS}]`,
      `ImportDeclaration[source.value=${TIMER_MODULES}] ImportSpecifier[imported.name=/^(setTimeout|setInterval|scheduler)$/]`,
      `ImportDeclaration[source.value=${TIMER_MODULES}] > :matches(ImportNamespaceSpecifier, ImportDefaultSpecifier)`,
      `:matches(ImportExpression, ExportAllDeclaration, ExportNamedDeclaration)[source.value=${TIMER_MODULES}]`,
      ':matches(:not(ImportDeclaration) > Literal[value=/^node:timers/], TemplateElement[value.cooked=/^node:timers/])',
      "NewExpression[callee.name='Promise']",
      "MemberExpression[object.name='Promise'][property.name='withResolvers']",
      "CallExpression[callee.property.name=/^(add|remove)EventListener$/][arguments.0.value='abort']",
      "AssignmentExpression[left.property.name='onabort']",
      "MemberExpression:matches([object.name='AbortSignal'], [object.property.name='AbortSignal']):matches([property.name=/^(any|timeout)$/], [property.value=/^(any|timeout)$/])",
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
      // Imported, exported again, loaded later or required.
      `:matches(Literal[value=${CHILD_MODULES}], TemplateElement[value.cooked=${CHILD_MODULES}])`,
      "CallExpression > ObjectExpression > Property[key.name='shell']:not([value.value=false])",
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
      ...[
        ['left', 'right'],
        ['right', 'left'],
      ].flatMap(([one, other]) => [
        `BinaryExpression[operator=/^[!=]==?$/][${one}.property.name='message'][${other}.type=${TEXT}]`,
        // As in `error?.message`.
        `BinaryExpression[operator=/^[!=]==?$/][${one}.expression.property.name='message'][${other}.type=${TEXT}]`,
      ]),
      "SwitchStatement[discriminant.property.name='message']",
      `CallExpression[callee.object.property.name='message'][callee.property.name=${SEARCHES}]`,
      "CallExpression[callee.property.name=/^(test|exec|includes|indexOf|has)$/][arguments.0.property.name='message']",
    ],
    message: 'compare the code, or a field of the details: a message is for people and may change',
    // Composes a line for people: whether a name is in it already is a question about the text.
    except: ['cli/runner/several.ts'],
  },
  {
    // Verbs on something else have parameters: NodeService.stop(reference).
    name: 'things are closed or destroyed',
    selectors: [
      ...[`[key.name=${ENDS}]`, `[key.value=${ENDS}]`].flatMap((key) => [
        `:matches(MethodDefinition[kind='method'], TSAbstractMethodDefinition)${key}[value.params.length=0]`,
        `TSMethodSignature${key}[params.length=0]`,
        `:matches(PropertyDefinition, Property)${key}[value.type=${FUNCTION}][value.params.length=0]`,
        `TSPropertySignature${key}[typeAnnotation.typeAnnotation.type='TSFunctionType'][typeAnnotation.typeAnnotation.params.length=0]`,
      ]),
    ],
    message: 'call it close (what runs ends in order) or destroy (at once, or for good), or use [Symbol.dispose]',
  },
];

/** Entries of eslint.config.js. Each rule is one of ESLint's, so that a file is without every rule that excepts it. */
export function houseRulesConfig(files, ignores) {
  const idOf = (name) => name.replaceAll(/\W+/g, '-');
  const rules = HOUSE_RULES.map(({ name, message, selectors = [], listeners }) => {
    const create = (context) => {
      const report = (node) => context.report({ node, message: `${name}: ${message}` });
      return listeners?.(report, context.sourceCode) ?? { [selectors.join(', ')]: report };
    };
    return [idOf(name), { meta: { type: 'problem' }, create }];
  });
  const all = Object.fromEntries(rules.map(([id]) => [`house/${id}`, 'error']));
  return [
    { files, ignores, plugins: { house: { rules: Object.fromEntries(rules) } }, rules: all },
    ...HOUSE_RULES.filter(({ except = [] }) => except.length > 0).map(({ name, except }) => ({
      files: except,
      ignores,
      rules: { [`house/${idOf(name)}`]: 'off' },
    })),
  ];
}
