/** The OpenAPI document, and Swagger UI to read and try it: all of it from here, without any request to elsewhere. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import Router from '@koa/router';
import { stateOf } from '../../../http/request.js';

/** Swagger UI sets styles on its elements; scripts come from here alone. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Nexus</title>
    <link rel="icon" href="data:," />
    <link rel="stylesheet" href="/docs/swagger-ui.css" />
  </head>
  <body>
    <div id="ui"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

const START = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#ui', validatorUrl: null, deepLinking: true });
`;

interface Served {
  readonly type: string;
  readonly body: string | Buffer;
}

/** Read at once: once the process has become the service user it may not be able to read the package's folder. */
function assets(): Readonly<Record<string, Served>> {
  const find = createRequire(import.meta.url);
  const read = (name: string): Buffer => readFileSync(find.resolve(`swagger-ui-dist/${name}`));
  return {
    '/docs': { type: 'text/html; charset=utf-8', body: PAGE },
    '/docs/start.js': { type: 'text/javascript; charset=utf-8', body: START },
    '/docs/swagger-ui.css': { type: 'text/css; charset=utf-8', body: read('swagger-ui.css') },
    '/docs/swagger-ui-bundle.js': { type: 'text/javascript; charset=utf-8', body: read('swagger-ui-bundle.js') },
  };
}

export function documentationRouter(document: object): Router {
  const router = new Router();
  const served = {
    ...assets(),
    '/openapi.json': { type: 'application/json; charset=utf-8', body: JSON.stringify(document) },
  };
  for (const [path, { type, body }] of Object.entries(served)) {
    router.get(path, (context) => {
      stateOf(context).route = path;
      context.set('Content-Security-Policy', POLICY);
      context.set('Cache-Control', 'no-cache');
      context.type = type;
      context.body = body;
    });
  }
  return router;
}
