import { expect } from 'chai';
import { omissionsOf } from '../../controller/image/omissions.js';

describe('what an import leaves out of an archive', () => {
  const line = (mode: string, name: string, size = '0', owner = '0/0'): string =>
    `${mode} ${owner} ${size.padStart(12)} 2026-11-29 14:00 ${name}`;

  it('is what lies in the topmost dev, however its path begins', () => {
    for (const name of ['dev/null', './dev/null', '/dev/a/b']) {
      expect(omissionsOf(line('crw-rw-rw-', name, '1,3'))).to.deep.equal(['entries in /dev']);
    }
    for (const name of ['dev/', './dev/', 'usr/dev/x', './a/dev/x', 'devel/x', 'x dev/y']) {
      expect(omissionsOf(line('-rw-r--r--', name)), name).to.deep.equal([]);
    }
  });

  it('is attributes of files', () => {
    for (const mark of ['*', '+'])
      expect(omissionsOf(line(`-rwxr-xr-x${mark}`, 'bin/ping'))).to.deep.equal(['attributes or access lists of files']);
    expect(omissionsOf(line('-rwxr-xr-x', 'bin/ping'))).to.deep.equal([]);
  });

  it('is owners that no node has', () => {
    for (const owner of ['65535/0', '0/65535', '4000000000/4000000000'])
      expect(omissionsOf(line('-rw-r--r--', 'a', '3', owner)), owner).to.deep.equal(['owners above 65534']);
    expect(omissionsOf(line('-rw-r--r--', 'a', '3', '65534/65534'))).to.deep.equal([]);
    expect(omissionsOf(line('-rw-r--r--*', 'a', '3', '70000/0'))).to.have.length(2);
  });
});
