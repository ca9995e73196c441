/**
 * mocha's spec reporter, with each failure's message where it happens, the slowest tests of a long run, and one plain line
 * at the very end (`12 passed, 0 failed, 1 skipped`) that machines which don't know mocha can read.
 */
'use strict';
const { reporters } = require('mocha');

const SLOWEST = 20;
/** A run of fewer tests shows their durations on its one screen. */
const LONG_RUN = 200;

module.exports = class ClosingLine extends reporters.Spec {
  #timed = [];

  constructor(runner, options) {
    super(runner, options);
    // At once: a run that is cut off tells all the same.
    runner.on('fail', (test, { message }) =>
      reporters.Base.consoleLog(`      ${String(message).split('\n').slice(0, 3).join('\n      ')}`),
    );
    runner.on('pass', (test) => this.#timed.push({ title: test.fullTitle(), duration: test.duration ?? 0 }));
  }

  epilogue() {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    if (this.#timed.length >= LONG_RUN) {
      reporters.Base.consoleLog('The slowest:');
      for (const { title, duration } of this.#timed.sort((a, b) => b.duration - a.duration).slice(0, SLOWEST))
        reporters.Base.consoleLog(`${(duration / 1000).toFixed(1).padStart(7)} s  ${title}`);
    }
    reporters.Base.consoleLog(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
};
