import { expect } from 'chai';
import { parseNetworkUsage } from '../../agent/usage.js';

describe('network counters', () => {
  const table = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
    '    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0',
    '  eth0: 7654321    5000    0    0    0     0          0         0  1234567    4000    0    0    0     0       0          0',
    '',
  ].join('\n');

  it('are those of the interface asked for', () => {
    expect(parseNetworkUsage('eth0', table)).to.deep.equal({ receivedBytes: 7654321, sentBytes: 1234567 });
    expect(parseNetworkUsage('eth', table)).to.deep.equal({ receivedBytes: 0, sentBytes: 0 });
  });
});
