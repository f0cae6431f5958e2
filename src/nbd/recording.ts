/** Where accepted requests are told to whoever records them; most of the time nobody does. */

/** Hears of the requests that are carried out. */
export interface RequestRecorder {
  /**
   * Called once for each request when it is begun, in the order in which requests are taken, with
   * its command and flags as on the wire; `seconds` is the server's clock when the bytes were taken.
   * Must neither wait nor throw.
   */
  record(
    exportNumber: number,
    command: number,
    flags: number,
    offset: number,
    length: number,
    seconds: number,
  ): void;
}

/** The switch of a server: all its connections look at it for every request. */
export class Recording {
  recorder: RequestRecorder | undefined = undefined;
}
