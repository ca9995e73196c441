/**
 * Strict, type-checked rules. What is switched off here is off because following it makes code worse, with the
 * reason beside it.
 */
import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';
import { houseRulesConfig } from './deploy/house-rules.mjs';

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
  ...houseRulesConfig(['**/*.ts'], ['test/**']),
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
