/** JSON taken apart as text, against JSON.parse. */
import { expect } from 'chai';
import fc from 'fast-check';
import { problemOfEvent } from '../../controller/lambda/event-text.js';
import { jsonDepth, memberText, mostDigits, repeatedMember, withMember } from '../../shared/json-text.js';

describe('JSON as text', () => {
  it('gives a member as it was written', () => {
    const text =
      '{ "code":"a\\"event\\":1,", "event" : {"n": 1.0, "m": [12345678901234567890, "]}"]} , "x":{"event":2}}';
    expect(memberText(text, 'event')).to.equal('{"n": 1.0, "m": [12345678901234567890, "]}"]}');
    expect(memberText('{"event":1,"\\u0065vent":2.50}', 'event')).to.equal('2.50');
    expect(memberText('{"other":{"event":1}}', 'event')).to.equal(undefined);
    expect(memberText('["event", 1]', 'event')).to.equal(undefined);
    expect(memberText('{}', 'event')).to.equal(undefined);
  });

  it('takes a member in as it was written, on one line and on several', () => {
    const written = '{"n": 1.0, "m": 12345678901234567890, "}": "\\n}"}';
    for (const indent of [undefined, 2]) {
      const text = withMember(JSON.stringify({ stdout: '}\n', node: 'a' }, null, indent), 'result', written);
      expect(memberText(text, 'result')).to.equal(written);
      expect(JSON.parse(text)).to.deep.equal({ stdout: '}\n', node: 'a', result: JSON.parse(written) as unknown });
    }
    expect(withMember('{\n  "a": 1\n}', 'b', '[]')).to.equal('{\n  "a": 1,\n  "b": []\n}');
  });

  it('finds a name that an object has twice, at any depth but in what is passed on', () => {
    for (const [text, name] of [
      ['{"a":1,"b":{"a":2},"c":[{"a":1},{"a":2}]}', undefined],
      ['{"a":1,"\\u0061":2}', 'a'],
      ['{"a":{"b":[1,{"c":"{,:","c":1}]}}', 'c'],
      ['{"event":{"x":1,"x":2},"y":"}"}', undefined],
      ['{"event":{"x":1},"event":2}', 'event'],
      ['[1,2,"a"]', undefined],
    ] as const)
      expect(repeatedMember(text, 'event'), text).to.equal(name);
  });

  it('finds the members that JSON.parse finds', () => {
    const objects = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(objects, fc.constantFrom(0, 2), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        for (const [name, member] of Object.entries(JSON.parse(text) as object))
          expect(JSON.parse(memberText(text, name) ?? '')).to.deep.equal(member);
      }),
    );
  });

  it('counts depth and digits outside of strings', () => {
    expect(jsonDepth('1')).to.equal(0);
    expect(jsonDepth('{"a":[[1],"[[[[",{"b":2}]}')).to.equal(3);
    expect(mostDigits('["123456", 123, {"4": 12345e1}]')).to.equal(5);
  });
});

describe('an event', () => {
  it('is refused where Python could not read it, and for nothing else', () => {
    expect(problemOfEvent('{')).to.equal('must be JSON');
    expect(problemOfEvent('NaN')).to.equal('must be JSON');
    expect(problemOfEvent(`${'['.repeat(201)}${']'.repeat(201)}`)).to.contain('deeper than 200');
    expect(problemOfEvent(`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`)).to.contain('deeper than 200');
    expect(problemOfEvent('1'.repeat(4301))).to.contain('4300 digits');
    expect(problemOfEvent(JSON.stringify(['1'.repeat(5000), '['.repeat(300), '\\'.repeat(100_000)]))).to.equal(
      undefined,
    );
  });
});
