/** What long work on images tells, and how it is ended before it is done. */

/** How far it is; both in bytes of the guest's disk, or of what stands for it. */
export interface WorkProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface WorkOptions {
  /** Called often, and never after the work has ended. */
  readonly onProgress?: ((progress: WorkProgress) => void) | undefined;
  /** Ends the work as soon as can be; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}
