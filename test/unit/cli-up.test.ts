/** `nexus up` on a cluster that is up advises only what the next start will take. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { inForceFile, inForceText } from '../../shared/config/in-force.js';
import { GetStatusResponse } from '../../shared/gen/nexus/v1/cluster.js';
import { loadSettings } from '../../shared/config/settings.js';
import { answer, FakeController, runNexus } from '../support/fake-controller.js';

describe('nexus up with other settings than those of the cluster', () => {
  const notes = async (nodes: number, other: NodeJS.ProcessEnv): Promise<string> => {
    await using controller = await FakeController.start({
      getStatus: answer(() => GetStatusResponse.fromPartial({ runtime: 'process', nodes: { total: nodes } })),
    });
    const { folder } = controller;
    const env = {
      ...controller.env,
      NEXUS_INSTANCE: 'upnotes',
      NEXUS_STATE_DIR: folder,
      NEXUS_RUN_DIR: join(folder, 'run'),
    };
    const settings = loadSettings({ env: { ...env, NEXUS_SUBNET: '10.9.8.0/24' } });
    mkdirSync(settings.runDir);
    writeFileSync(inForceFile(settings), inForceText(settings));
    const { exitCode, stderr } = await runNexus(['up'], { ...env, NEXUS_SUBNET: '10.9.8.0/24', ...other });
    expect(exitCode, stderr).to.equal(0);
    return stderr;
  };
  const subnet = { NEXUS_SUBNET: '10.9.9.0/24' };

  it('says that another subnet needs the nodes removed first, and advises no restart for it', async () => {
    expect(await notes(2, subnet)).to.equal(
      'the nodes of this cluster were made with other settings, and a start with these is refused: subnet is 10.9.8.0/24, not 10.9.9.0/24; set back what differs; or remove the nodes first: nexus node rm NAME for each, or nexus down --purge for everything\n',
    );
  });

  it('advises the restart for the other ones, and for a cluster without nodes', async () => {
    expect(await notes(0, subnet))
      .to.include('subnet is 10.9.8.0/24')
      .and.include('nexus down, then nexus up');
    const both = (await notes(1, { ...subnet, NEXUS_QUOTA_MB: '2' })).trim().split('\n');
    expect(both[0]).to.include('quota-mb is 500, not 2; restart the cluster').and.not.include('subnet');
    expect(both[1]).to.include('subnet is').and.not.include('restart');
  });

  it('says of another database how to move', async () => {
    const said = await notes(1, { NEXUS_DATABASE_URL: 'postgresql://db.example/nexus' });
    expect(said).to.include('are in another database: database-url').and.include('nexus state export');
    expect(said).not.to.include('restart');
  });
});
