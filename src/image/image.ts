/**
 * A guest's disk, made of storages by a format. A format maps ranges; the generic code here reads,
 * writes and joins them, so that no format carries I/O code of its own.
 */
