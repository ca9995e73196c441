import { expect } from 'chai';
import { omissionOf } from '../../controller/image/omissions.js';

describe('what an import leaves out of an archive', () => {
  const line = (mode: string, name: string, size = '0'): string =>
    `${mode} 0/0 ${size.padStart(12)} 2026-11-29 14:00 ${name}`;

  it('is what lies in the topmost dev, however its path begins', () => {
    for (const name of ['dev/null', './dev/null', '/dev/a/b']) {
      expect(omissionOf(line('crw-rw-rw-', name, '1,3'))).to.equal('entries in /dev');
    }
    for (const name of ['dev/', './dev/', 'usr/dev/x', './a/dev/x', 'devel/x', 'x dev/y']) {
      expect(omissionOf(line('-rw-r--r--', name)), name).to.equal(undefined);
    }
  });

  it('is attributes of files', () => {
    for (const mark of ['*', '+'])
      expect(omissionOf(line(`-rwxr-xr-x${mark}`, 'bin/ping'))).to.equal('attributes or access lists of files');
    expect(omissionOf(line('-rwxr-xr-x', 'bin/ping'))).to.equal(undefined);
  });
});
