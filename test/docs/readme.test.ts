import { describePages } from '../support/pages.js';

describePages('README.md');
