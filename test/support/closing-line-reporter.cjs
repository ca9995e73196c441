/**
 * mocha's spec reporter, with each failure's message where it happens, the slowest tests and files of a long run, and one
 * plain line at the very end (`12 passed, 0 failed, 1 skipped`) that machines which don't know mocha can read.
 */
'use strict';
const { relative } = require('node:path');
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
    runner.on('pass', (test) => {
      this.#timed.push({ title: test.fullTitle(), file: test.file, duration: test.duration ?? 0 });
    });
  }

  epilogue() {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    if (this.#timed.length >= LONG_RUN) {
      this.#tell('The slowest files, without their set-up; the longest begin first in deploy/test.sh:', this.#files());
      this.#tell('The slowest:', this.#timed);
    }
    reporters.Base.consoleLog(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }

  #files() {
    const sums = new Map();
    for (const { file, duration } of this.#timed) sums.set(file, (sums.get(file) ?? 0) + duration);
    return [...sums].map(([file, duration]) => ({ title: relative(process.cwd(), file ?? ''), duration }));
  }

  #tell(heading, timed) {
    reporters.Base.consoleLog(heading);
    for (const { title, duration } of timed.sort((a, b) => b.duration - a.duration).slice(0, SLOWEST))
      reporters.Base.consoleLog(`${(duration / 1000).toFixed(1).padStart(7)} s  ${title}`);
  }
};
