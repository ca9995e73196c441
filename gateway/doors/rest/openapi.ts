/** The OpenAPI document, made from the routes' own descriptions. */
import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { VERSION } from '../../../shared/version.js';
import type { Answer, Route } from '../../http/route.js';
import { errorSchema } from './schemas.js';

const TOKEN = 'token';

export function openApiDocument(routes: readonly Route[]): object {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', TOKEN, { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' });
  for (const route of routes) registry.registerPath(pathOf(route));
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'Nexus',
      version: VERSION,
      description: 'A whole cloud on one machine: accounts, nodes, files, and a file system for each user.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
  });
}

function pathOf(route: Route): RouteConfig {
  const { params, query } = route;
  return {
    method: route.method,
    path: route.path.replace(/:(\w+)/g, '{$1}'),
    operationId: operationId(route),
    tags: [route.tag],
    summary: route.summary,
    security: route.isPublic ? [] : [{ [TOKEN]: [] }],
    request: {
      ...(params === undefined ? {} : { params }),
      ...(query === undefined ? {} : { query }),
      ...bodyOf(route),
    },
    responses: {
      ...Object.fromEntries(Object.entries(route.answers).map(([status, answer]) => [status, shown(answer)])),
      default: { description: 'refused, or failed', content: { 'application/json': { schema: errorSchema } } },
    },
  };
}

/** e.g. postAuthLoginInit, getApiNodesId. */
const operationId = ({ method, path }: Route): string =>
  method +
  path
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join('');

function bodyOf({ body, upload }: Route): NonNullable<RouteConfig['request']> {
  if (body !== undefined) return { body: { required: true, content: { 'application/json': { schema: body } } } };
  if (upload === undefined) return {};
  const raw = { schema: { type: 'string' as const, format: 'binary' } };
  const content = { 'multipart/form-data': { schema: upload }, 'application/octet-stream': raw };
  return { body: { required: true, content } };
}

function shown({ description, schema, type }: Answer): RouteConfig['responses'][string] {
  if (type !== undefined) return { description, content: { [type]: { schema: { type: 'string' } } } };
  return schema === undefined ? { description } : { description, content: { 'application/json': { schema } } };
}
