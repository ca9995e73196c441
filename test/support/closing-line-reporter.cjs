/**
 * mocha's spec reporter, with one plain line at the very end (`12 passed, 0 failed, 1 skipped`) that machines which
 * don't know mocha can read.
 */
'use strict';
const { reporters } = require('mocha');

module.exports = class ClosingLine extends reporters.Spec {
  epilogue() {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    reporters.Base.consoleLog(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
};
