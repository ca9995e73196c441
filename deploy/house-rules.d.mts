/** Types of house-rules.mjs, for its test. */
export declare const HOUSE_RULES: readonly {
  readonly name: string;
  readonly message: string;
  readonly except?: readonly string[];
}[];
export declare function houseRulesConfig(files: readonly string[], ignores: readonly string[]): readonly object[];
