/** Raw statements for both databases: `?` marks a parameter and is numbered for PostgreSQL. */
import type { EntityManager } from 'typeorm';

/** The statement must contain no `?` except for parameters. */
export function query<Row>(manager: EntityManager, sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
  let count = 0;
  const isPostgres = manager.dataSource.options.type === 'postgres';
  const text = isPostgres ? sql.replace(/\?/g, () => `$${(count += 1)}`) : sql;
  return manager.query<Row[]>(text, [...parameters]);
}
