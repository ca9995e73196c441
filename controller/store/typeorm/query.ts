/** Raw statements for every database: `?` marks a parameter, and becomes the mark that the database has for it. */
import type { EntityManager } from 'typeorm';

/** The statement must contain no `?` except for parameters. */
export function query<Row>(manager: EntityManager, sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
  let count = 0;
  const { driver } = manager.dataSource;
  const text = sql.replace(/\?/g, () => driver.createParameter('', count++));
  return manager.query<Row[]>(text, [...parameters]);
}
