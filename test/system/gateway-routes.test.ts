/**
 * Every route of the OpenAPI document, called with right and wrong input; every answer is checked against the schema that
 * the document gives for it. A route without a case here fails the test.
 */
import { randomBytes } from 'node:crypto';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { expect } from 'chai';
import { MIB } from '../../shared/limits.js';
import { GatewayClient, makeAdministrator, PASSWORD, type Answer, type Given } from '../support/gateway.js';
import { describeWithCluster } from '../support/system.js';

interface Operation {
  readonly security: readonly object[];
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: object;
}

interface Case extends Given {
  readonly status: number;
  /** With parameters filled in; default: the route's own. */
  readonly path?: string;
  /** The field that is named by the refusal. */
  readonly field?: string;
}

const hello = (): FormData => {
  const form = new FormData();
  form.append('file', new Blob(['hello']), 'hello.txt');
  return form;
};

describeWithCluster('the routes of the gateway', { runtime: 'process', gateway: true }, (cluster) => {
  let gateway: GatewayClient;
  let document: Document;
  let admin: string;
  const validators = new Map<object, ValidateFunction>();
  const ajv = new Ajv2020({ strict: false, validateFormats: false });

  before(async () => {
    gateway = await GatewayClient.of(cluster());
    document = (await gateway.call('GET', '/openapi.json')).json as unknown as Document;
    admin = await gateway.register('root1');
    await gateway.register('bob');
    // Only the admin socket makes somebody an administrator.
    await makeAdministrator(cluster().socket, 'root1');
    await cluster().ok('node', 'create', 'n1', '--storage', '256M');
  });

  function assertShape(operation: Operation, answer: Answer, what: string): void {
    const response = operation.responses[String(answer.status)] ?? operation.responses['default'];
    const schema = response?.content?.['application/json']?.schema;
    if (schema === undefined) return;
    const check =
      validators.get(schema) ??
      ajv.compile({ ...schema, components: document.components, $id: `case-${validators.size}` });
    validators.set(schema, check);
    expect(check(JSON.parse(answer.text)), `${what}: ${answer.text} ${ajv.errorsText(check.errors)}`).to.equal(true);
  }

  /** By method and path as in the document. Later ones find what earlier ones have made. */
  const cases = (known: { readonly file: string; readonly token: string }) => {
    const { token } = known;
    const unknown = { token, json: { colour: 'red' }, status: 400, field: 'colour' };
    const node = (verb: string): Case[] => [
      { path: `/api/nodes/n1/${verb}`, token, status: 200 },
      { path: `/api/nodes/nobody/${verb}`, token, status: 404 },
      { path: `/api/nodes/..%2F..%2Fetc/${verb}`, token, status: 400, field: 'id' },
    ];
    const all: Readonly<Record<string, readonly Case[]>> = {
      'post /auth/register/init': [
        { json: { Username: 'carol', Password: PASSWORD, Email: 'carol@example.org' }, status: 200 },
        { json: { username: 'carol', password: PASSWORD }, status: 400, field: 'email' },
        { json: { username: 7, password: PASSWORD, email: 'a@example.org' }, status: 400, field: 'username' },
        {
          json: { username: 'Not A Name', password: PASSWORD, email: 'a@example.org' },
          status: 400,
          field: 'username',
        },
        { body: 'x'.repeat(70_000), headers: { 'content-type': 'application/json' }, status: 413, field: 'body' },
        { body: '{', headers: { 'content-type': 'application/json' }, status: 400, field: 'body' },
        { body: 'a=b', headers: { 'content-type': 'text/plain' }, status: 415, field: 'content-type' },
      ],
      'post /auth/register/verify': [
        { json: { email: 'nobody@example.org', code: '123456' }, status: 401 },
        { json: { email: 'nobody@example.org' }, status: 400, field: 'code' },
      ],
      'post /auth/login/init': [{ json: { username: 'bob', password: PASSWORD }, status: 200 }, unknown],
      'post /auth/login/verify': [
        { json: { username: 'bob', code: '12' }, status: 400, field: 'code' },
        { json: { code: '123456' }, status: 400 },
      ],
      'get /auth/whoami': [{ token, status: 200 }],
      'get /.well-known/jwks.json': [{ status: 200 }],
      'post /api/nodes': [
        { token, json: { name: 'n2', storage_size: 64 * 2 ** 20, memory_mb: 64 }, status: 201 },
        { token, json: { name: 'n2', storage_size: 64 * 2 ** 20 }, status: 409 },
        { token, json: { storage_size: 64 * 2 ** 20 }, status: 400, field: 'name' },
        { token, json: { name: 'NOT_A_LABEL', storage_size: 64 * 2 ** 20 }, status: 400, field: 'name' },
        { token, json: { name: 'n3', storage_size: '1G' }, status: 400, field: 'storage_size' },
        unknown,
      ],
      'get /api/nodes': [{ token, status: 200 }],
      'get /api/nodes/{id}': [
        { path: '/api/nodes/n1', token, status: 200 },
        { path: '/api/nodes/nobody', token, status: 404 },
      ],
      'post /api/nodes/{id}/cordon': node('cordon'),
      'post /api/nodes/{id}/uncordon': node('uncordon'),
      'get /api/nodes/{id}/metrics': [
        { path: '/api/nodes/nobody/metrics', token, status: 404 },
        { path: '/api/nodes/n1/metrics', token, status: 200 },
      ],
      'get /api/nodes/{id}/metrics/history': [
        { path: '/api/nodes/n1/metrics/history', token, status: 200 },
        { path: '/api/nodes/n1/metrics/history?since=yesterday', token, status: 400, field: 'since' },
      ],
      'post /api/files/upload': [
        { token, body: hello(), status: 200 },
        { path: '/api/files/upload?name=a.txt', token, body: 'hello', status: 200 },
        { token, body: 'hello', status: 400, field: 'name' },
        { path: '/api/files/upload?name=a.txt&colour=red', token, body: 'x', status: 400, field: 'colour' },
      ],
      'get /api/files': [
        { token, status: 200 },
        { path: '/api/files?page_size=0', token, status: 400, field: 'page_size' },
      ],
      'get /api/files/{id}': [
        { path: `/api/files/${known.file}`, token, status: 200 },
        { path: '/api/files/..%2F..%2Fetc%2Fpasswd', token, status: 400, field: 'id' },
        { path: '/api/files/%E0%A4%A', token, status: 400 },
        { path: `/api/files/${'0'.repeat(16)}`, token, status: 404 },
      ],
      'get /api/files/{id}/download': [
        { path: `/api/files/${known.file}/download`, token, status: 200 },
        { path: `/api/files/${'0'.repeat(16)}/download`, token, status: 404 },
      ],
      'delete /api/files/{id}': [
        { path: `/api/files/${known.file}`, token, status: 200 },
        { path: `/api/files/${known.file}`, token, status: 404 },
      ],
      'post /api/fs/mkdir': [
        { token, json: { path: '/d/e', parents: true }, status: 200 },
        { token, json: { path: '/d/e' }, status: 409 },
        { token, json: { path: 'foo' }, status: 400, field: 'path' },
        { token, json: { path: '/a\0b' }, status: 400, field: 'path' },
        { token, json: { path: `/${'x'.repeat(300)}` }, status: 400, field: 'path' },
        { token, json: { path: `/${'x/'.repeat(4000)}` }, status: 400, field: 'path' },
        { token, json: { path: 7 }, status: 400, field: 'path' },
      ],
      'post /api/fs/upload': [
        { path: '/api/fs/upload?path=/d/a.txt', token, body: 'hello', status: 200 },
        { path: '/api/fs/upload?path=/d/a.txt', token, body: 'hello', status: 409 },
        { path: '/api/fs/upload?path=/d/a.txt&overwrite=true', token, body: 'hello', status: 200 },
        { path: '/api/fs/upload?path=/d/a.txt&overwrite=perhaps', token, body: 'x', status: 400, field: 'overwrite' },
        { token, body: hello(), status: 400, field: 'path' },
      ],
      'get /api/fs/ls': [
        { token, status: 200 },
        { path: '/api/fs/ls?path=/d', token, status: 200 },
        { path: '/api/fs/ls?path=/nowhere', token, status: 404 },
        { path: '/api/fs/ls?path=/d&path=/e', token, status: 400, field: 'path' },
      ],
      'get /api/fs/stat': [
        { path: '/api/fs/stat?path=/d/../d/./a.txt', token, status: 200 },
        { token, status: 400, field: 'path' },
      ],
      'get /api/fs/download': [
        { path: '/api/fs/download?path=/d/a.txt', token, status: 200 },
        { path: '/api/fs/download?path=/d', token, status: 409 },
        { path: '/api/fs/download?path=/nowhere', token, status: 404 },
      ],
      'post /api/fs/move': [
        { token, json: { old_path: '/d/a.txt', new_path: '/d/b.txt' }, status: 200 },
        { token, json: { old_path: '/d', new_path: '/d/e/f' }, status: 409 },
        { token, json: { old_path: 'd', new_path: '/x' }, status: 400, field: 'old_path' },
        { token, json: { old_path: '/d', new_path: 'x' }, status: 400, field: 'new_path' },
      ],
      'delete /api/fs/delete': [
        { path: '/api/fs/delete?path=/d', token, status: 409 },
        { path: '/api/fs/delete?path=/d&recursive=true', token, status: 200 },
        { path: '/api/fs/delete?path=/', token, status: 400, field: 'path' },
      ],
      'get /api/fs/quota': [{ token, status: 200 }],
      // Under the process runtime there is no sandbox: a refusal, and what is wrong is still named.
      'post /api/lambda/run': [
        { token, json: { code: 'print(1)' }, status: 409 },
        { token, json: { code: 'print(1)', memory_mb: 'much' }, status: 400, field: 'memory_mb' },
        { token, json: { code: 'print(1)', runtime: 'perl' }, status: 400, field: 'runtime' },
        { token, json: {}, status: 400, field: 'code' },
        unknown,
      ],
      'get /healthz': [{ status: 200 }],
      'get /readyz': [{ status: 200 }],
      'get /metrics': [{ status: 200 }],
      'get /metrics/targets': [{ status: 200 }],
      'post /api/nodes/{id}/drain': node('drain'),
      'post /api/nodes/{id}/stop': node('stop'),
      'post /api/nodes/{id}/start': node('start'),
      'post /api/nodes/{id}/restart': node('restart'),
      'delete /api/nodes/{id}': [
        { path: '/api/nodes/n2?force=perhaps', token, status: 400, field: 'force' },
        // It had the only copies of two files, and names them.
        { path: '/api/nodes/n2?force=true', token, status: 200 },
        { path: '/api/nodes/n2', token, status: 404 },
      ],
      // An open stream has a test of its own.
      'get /api/events': [{ path: '/api/events?after=x', token, status: 400, field: 'after' }],
      'post /auth/logout': [
        { token, status: 204 },
        { token, status: 401 },
      ],
    };
    return all;
  };

  it('are described by a document that is valid', async () => {
    const { valid, errors } = await new Validator().validate({ ...document });
    expect(valid, JSON.stringify(errors)).to.equal(true);
  });

  it('name the file that a removed node takes along, and refuse it from then on before its first byte', async () => {
    await cluster().ok('node', 'create', 'gone', '--storage', '256M');
    const request = { token: admin };
    const content = randomBytes(45 * MIB);
    const stored = await gateway.call('POST', '/api/files/upload?name=doomed.bin', { ...request, body: content });
    const id = String(stored.json['id']);
    const { chunks } = await cluster().json<{ chunks: { index: number; replicas: { node: string }[] }[] }>(
      'file',
      'where',
      id,
    );
    const on = (name: string): number[] =>
      chunks.filter(({ replicas }) => replicas[0]?.node === name).map(({ index }) => index);
    const [left = -1] = on('n1');
    const [lost = -1] = on('gone');
    expect([left, lost], 'both nodes have a part').not.to.include(-1);

    const refused = await gateway.call('DELETE', '/api/nodes/gone', request);
    expect(refused.status, refused.text).to.equal(409);
    const removed = await gateway.call('DELETE', '/api/nodes/gone?force=true', request);
    expect(removed.status, removed.text).to.equal(200);
    expect(removed.json).to.deep.include({ name: 'gone', lost_files: [id] });
    expect(removed.json['lost']).to.deep.equal([{ id, name: 'doomed.bin', owner: 'root1' }]);
    const removal = document.paths['/api/nodes/{id}']?.['delete'];
    if (removal === undefined) throw new Error('the removal of a node is not in the document');
    assertShape(removal, removed, 'the removal');

    expect((await gateway.call('GET', `/api/files/${id}`, request)).json['status']).to.equal('lost');
    const path = `/api/files/${id}/download`;
    const whole = await gateway.call('GET', path, request);
    expect(whole.status, whole.text.slice(0, 300)).to.equal(500);
    expect(whole.json).to.include({ code: 'data_loss' });
    expect(whole.json['error']).to.contain(`chunk ${lost} of file ${id} is on no node any more`);
    const head = await gateway.call('HEAD', path, request);
    expect([head.status, head.text]).to.deep.equal([500, '']);
    expect(head.headers.get('etag'), 'it promises nothing').to.equal(null);
    const part = (chunk: number): Promise<Answer> => {
      const range = `bytes=${chunk * 10 * MIB}-${chunk * 10 * MIB + 9}`;
      return gateway.call('GET', path, { ...request, headers: { range } });
    };
    expect((await part(lost)).status).to.equal(500);
    expect((await part(left)).status, 'what is left of it can be had').to.equal(206);
    expect((await gateway.call('DELETE', `/api/files/${id}`, request)).status).to.equal(200);
  });

  it('are each called with right and wrong input, and answer as their schemas say', async function () {
    this.timeout(300_000);
    const stored = await gateway.call('POST', '/api/files/upload?name=known.bin', { token: admin, body: 'known' });
    const known = { file: String(stored.json['id']), token: admin };
    const table = cases(known);
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect([...documented].sort()).to.deep.equal(Object.keys(table).sort());
    for (const [name, given] of Object.entries(table)) {
      const [method = '', path = ''] = name.split(' ');
      const operation = document.paths[path]?.[method];
      if (operation === undefined) throw new Error(`${name} is not in the document`);
      if (operation.security.length > 0) {
        const answer = await gateway.call(method.toUpperCase(), path.replace('{id}', 'x'));
        expect(answer.status, `${name} without a token`).to.equal(401);
        expect(answer.headers.get('www-authenticate')).to.equal('Bearer');
        assertShape(operation, answer, name);
      }
      for (const one of given) {
        const what = `${name} ${JSON.stringify({ ...one, token: undefined }).slice(0, 200)}`;
        const answer = await gateway.call(method.toUpperCase(), one.path ?? path, one);
        expect(answer.status, `${what}: ${answer.text.slice(0, 300)}`).to.equal(one.status);
        expect(answer.headers.get('x-request-id'), what).to.match(/^[0-9a-f-]{36}$/);
        if (one.field !== undefined) {
          expect((answer.json['details'] as Record<string, unknown>)['field'], what).to.equal(one.field);
          expect(answer.json['error'], what).to.contain(one.field);
        }
        assertShape(operation, answer, what);
      }
    }
  });
});
