/**
 * Strict, type-checked rules. What is switched off here is off because following it makes code worse, with the
 * reason beside it.
 */
import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Calls whose promise is never rejected; an event that can't be stored is logged (controller/events/log.ts). */
const NEVER_REJECTED = [
  ":not([argument.callee.property.name='catch'])",
  ":not([argument.expression.callee.property.name='catch'])",
  ":not([argument.callee.property.name='allSettled'])",
  ":not([argument.callee.object.property.name='events'])",
].join('');
const MASKED =
  'what is awaited here could fail in the place of the error that is on its way: add .catch, and a line in the log where it matters';

/** Outside of controller/hosting nobody asks what a node is made of: `can` of its hosting, and of its runtime, says it. */
const KINDS = '/^(runc|crun|process|contained)$/';
const ASKS_FOR_KIND = [
  {
    selector: `BinaryExpression[operator=/^[!=]==?$/]:matches([left.value=${KINDS}], [right.value=${KINDS}])`,
    message: 'ask the hosting what it can do (shared/config/runtimes.ts), not for its kind or its runtime',
  },
  {
    selector: 'Identifier[name=/^(isContained|agentCgroup|usesLoopDevices)$/]',
    message: 'ask the hosting what it can do (controller/hosting/port.ts)',
  },
];
const NO_MASKED_ERRORS = [
  { selector: `TryStatement > .finalizer AwaitExpression${NEVER_REJECTED}`, message: MASKED },
  {
    selector: `CatchClause > BlockStatement:has(> ThrowStatement) > :not(ThrowStatement) AwaitExpression${NEVER_REJECTED}`,
    message: MASKED,
  },
];

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'shared/gen/', 'coverage/', '.cache/'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'no-console': 'error',
      eqeqeq: 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Numbers in messages are plain; it is objects that turn into "[object Object]".
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // An adapter or a fake is async because its port is.
      '@typescript-eslint/require-await': 'off',
      // `void` marks a promise that is followed elsewhere; as an arrow's result it reads well.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // gRPC clients hand out their methods as functions; calls go through `call`, which binds them.
      '@typescript-eslint/unbound-method': 'off',
      // TypeORM's own way to declare entities without decorators.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // Status numbers of gRPC come from one table that does not link the library.
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      // Loops that end by a return or a break inside.
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
    },
  },
  {
    files: ['**/*.ts'],
    ignores: ['test/**'],
    rules: {
      // A clean-up that fails must not replace the failure that people have to be told.
      'no-restricted-syntax': ['error', ...NO_MASKED_ERRORS, ...ASKS_FOR_KIND],
    },
  },
  {
    files: ['controller/hosting/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', ...NO_MASKED_ERRORS] },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // chai's `expect(x).to.be.true` is an expression.
      '@typescript-eslint/no-unused-expressions': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: { globals: { process: 'readonly', Buffer: 'readonly', console: 'readonly', URL: 'readonly' } },
  },
  {
    files: ['**/*.cjs'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: { require: 'readonly', module: 'writable', process: 'readonly', __dirname: 'readonly' },
    },
  },
);
