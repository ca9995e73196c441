/** Errors about accounts, for administrators. A registration gets `userTaken` only after its code was accepted. */
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
  new NexusError('not_found', `there is no user "${username}"`, {}, { advice: { key: 'list-users' } });
