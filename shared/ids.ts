/**
 * Branded identifiers and names. Ids are random lower-case hex, so that a unique prefix can stand for one and
 * no id needs quoting anywhere (paths, subjects, URLs).
 */
import { randomBytes } from 'node:crypto';

declare const brand: unique symbol;
type Branded<Kind extends string> = string & { readonly [brand]: Kind };

export type NodeId = Branded<'node'>;
export type FileId = Branded<'file'>;
export type ChunkId = Branded<'chunk'>;
export type UploadId = Branded<'upload'>;
export type EntryId = Branded<'entry'>;
export type LeaseId = Branded<'lease'>;

const hex = (bytes: number): string => randomBytes(bytes).toString('hex');

export const newNodeId = (): NodeId => hex(6) as NodeId;
export const newFileId = (): FileId => hex(8) as FileId;
export const newUploadId = (): UploadId => hex(16) as UploadId;
export const newEntryId = (): EntryId => hex(8) as EntryId;
export const newLeaseId = (): LeaseId => hex(16) as LeaseId;
/** 128 bits: a chunk id is also the file name on the volume and must never repeat. */
export const newChunkId = (): ChunkId => hex(16) as ChunkId;

export const isChunkId = (text: string): text is ChunkId => /^[0-9a-f]{32}$/.test(text);
export const isNodeId = (text: string): text is NodeId => /^[0-9a-f]{12}$/.test(text);

/** RFC 1123 label: what node and image names must be, at most 63 characters. */
export const LABEL_PATTERN = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
export const LABEL_RULE = '1 to 63 lower-case letters, digits or "-", beginning and ending with a letter or digit';
