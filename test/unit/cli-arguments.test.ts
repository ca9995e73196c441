import { expect } from 'chai';
import fc from 'fast-check';
import {
  parseCpuWeight,
  parseDurationMs,
  parseMemoryMb,
  parsePairs,
  parseStorageBytes,
} from '../../cli/runner/arguments.js';
import type { AnyCommand } from '../../cli/runner/command.js';
import { inTypedWords } from '../../cli/runner/typed-words.js';
import { NexusError } from '../../shared/errors.js';
import { GIB, MIB } from '../../shared/limits.js';

const refusalOf = (parse: () => unknown): string => {
  try {
    parse();
  } catch (error) {
    expect(error).to.be.instanceOf(NexusError).with.property('code', 'invalid_argument');
    return (error as NexusError).message;
  }
  return expect.fail('it should have been refused');
};

describe('the values of flags', () => {
  it('take memory as MB or with a binary unit', () => {
    expect(['256', '512M', '1G', '1g', '512MiB', '0.5G'].map((text) => parseMemoryMb(text))).to.deep.equal([
      256, 512, 1024, 1024, 512, 512,
    ]);
  });

  it('take storage with a unit and refuse a bare number', () => {
    expect(parseStorageBytes('1G')).to.equal(BigInt(GIB));
    expect(parseStorageBytes('512M')).to.equal(BigInt(512 * MIB));
    expect(refusalOf(() => parseStorageBytes('1000'))).to.include('needs a unit');
  });

  for (const text of ['1Q', '0', '0M', '-1', '', 'G', '1e3', '1G2', 'NaN', '9'.repeat(400)]) {
    it(`refuse the size "${text.slice(0, 10)}" and name the flag`, () => {
      expect(refusalOf(() => parseMemoryMb(text))).to.match(/^--mem can't be/);
      expect(refusalOf(() => parseStorageBytes(text))).to.match(/^--storage can't be/);
    });
  }

  it('read every whole number of every unit back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8000 }), fc.constantFrom('K', 'M', 'G', 'T'), (count, unit) => {
        const factor = 1024n ** BigInt('KMGT'.indexOf(unit) + 1);
        expect(parseStorageBytes(`${count}${unit}`)).to.equal(BigInt(count) * factor);
      }),
    );
  });

  it('never take or throw anything but a positive size or a refusal', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(parseMemoryMb(text)).to.be.greaterThan(0);
        } catch (error) {
          expect(error).to.be.instanceOf(NexusError);
        }
      }),
    );
  });

  it('keep a cpu weight within 1 and 10000', () => {
    expect(parseCpuWeight('1')).to.equal(1);
    expect(parseCpuWeight('10000')).to.equal(10_000);
    for (const text of ['0', '10001', '1.5', '-1', ' 1'])
      expect(refusalOf(() => parseCpuWeight(text))).to.include('--cpu');
  });

  it('take times in ms, s, m and h, and bare seconds', () => {
    expect(['500ms', '10s', '10', '2m'].map((text) => parseDurationMs(text, 'grace', 600_000))).to.deep.equal([
      500, 10_000, 10_000, 120_000,
    ]);
    expect(parseDurationMs('1.5h', 'since', 7_200_000)).to.equal(5_400_000);
    for (const text of ['0', '', '1d']) {
      expect(refusalOf(() => parseDurationMs(text, 'grace', 600_000))).to.include('500ms, 10s, 2m or 1h');
    }
    for (const text of ['1h', '11m']) {
      expect(refusalOf(() => parseDurationMs(text, 'grace', 600_000))).to.include('the most is 10m');
    }
    expect(refusalOf(() => parseDurationMs('2h', 'since', 3_600_000))).to.include('the most is 1h');
  });

  it('take pairs whose value holds further equals signs', () => {
    expect(parsePairs(['a=1', 'b=x=y', 'c='], 'label')).to.deep.equal({ a: '1', b: 'x=y', c: '' });
    for (const text of ['a', '=1', '']) expect(refusalOf(() => parsePairs([text], 'label'))).to.include('KEY=VALUE');
  });
});

describe('a refusal of the controller', () => {
  const refusal = (field: string): string => {
    const error = new NexusError('invalid_argument', `${field}: is wrong`, { field, problem: 'is wrong' });
    const definition = {
      positionals: { code: {}, tag: { field: 'labels' } },
      flags: { mem: { field: 'limits.memory_mb' } },
    };
    return inTypedWords(error, definition as unknown as AnyCommand).message;
  };

  it('names what was typed, for a field within another, too', () => {
    expect(refusal('limits.memory_mb')).to.equal('--mem: is wrong');
    expect(refusal('labels.tier')).to.equal('TAG: is wrong');
    expect(refusal('code')).to.equal('CODE: is wrong');
    expect(refusal('limits.timeout_ms')).to.equal('limits.timeout_ms: is wrong');
  });
});
