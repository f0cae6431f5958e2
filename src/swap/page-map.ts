/**
 * Where each page of a swap device lies: 6 bytes a page, off the heap, reserved for the whole device
 * so that writing never waits for memory. The system maps what is touched.
 */

/** The span of a page that repeats one word: the word takes the place of the location. */
const FILLED_SPAN = 0xffff;

/** The map; pages are numbers below `pageCount`, locations and spans are granules. */
export class PageMap {
  readonly pageCount: number;
  /** Pages with a record, and pages that repeat a word other than zero. */
  recordCount = 0;
  filledCount = 0;
  readonly #locations: Uint32Array<ArrayBuffer>;
  readonly #spans: Uint16Array<ArrayBuffer>; // 0: a hole, which reads as zeros

  constructor(pageCount: number) {
    this.pageCount = pageCount;
    this.#locations = new Uint32Array(pageCount);
    this.#spans = new Uint16Array(pageCount);
  }

  get metadataBytes(): number {
    return this.#locations.byteLength + this.#spans.byteLength;
  }

  isHole(page: number): boolean {
    return this.#spans[page] === 0;
  }

  isFilled(page: number): boolean {
    return this.#spans[page] === FILLED_SPAN;
  }

  /** Whether the page has a record. */
  hasRecord(page: number): boolean {
    const span = this.#spans[page]!;
    return span !== 0 && span !== FILLED_SPAN;
  }

  /** Where its record is; or the word it repeats. */
  location(page: number): number {
    return this.#locations[page]!;
  }

  /** Granules of its record. */
  span(page: number): number {
    return this.#spans[page]!;
  }

  /** Whether the record at that place is the page's. */
  isAt(page: number, location: number): boolean {
    return page < this.pageCount && this.#locations[page] === location && this.hasRecord(page);
  }

  /** The page has a record; whoever calls has dropped what was there before. */
  setRecord(page: number, location: number, span: number): void {
    this.#locations[page] = location;
    this.#spans[page] = span;
    this.recordCount++;
  }

  /** The page repeats the word; as above. A page of zeros is a hole. */
  setFilled(page: number, word: number): void {
    if (word === 0) return;
    this.#locations[page] = word;
    this.#spans[page] = FILLED_SPAN;
    this.filledCount++;
  }

  /** The page's record is at another place. */
  moveRecord(page: number, location: number): void {
    this.#locations[page] = location;
  }

  /** The page is a hole. */
  clear(page: number): void {
    if (this.hasRecord(page)) this.recordCount--;
    else if (this.isFilled(page)) this.filledCount--;
    this.#spans[page] = 0;
    this.#locations[page] = 0;
  }
}
