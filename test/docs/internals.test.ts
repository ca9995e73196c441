import { describePages } from '../support/pages.js';

describePages('docs/internals/');
