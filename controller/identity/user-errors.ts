/** What administrators are told about accounts; people who register are never told. */
import { NexusError } from '../../shared/errors.js';

export const userTaken = (what: 'name' | 'address', value: string): NexusError =>
  new NexusError(
    'already_exists',
    what === 'name'
      ? `there is a user "${value}" already; choose another name`
      : `${value} belongs to an account already; use another address`,
    { field: what === 'name' ? 'username' : 'email' },
  );

export const noSuchUser = (username: string): NexusError =>
  new NexusError('not_found', `there is no user "${username}"; nexus user ls lists them`);
