/** Policies as their papers have them, on lists of keys; slow, and told of what papers leave out. */

/** A cache of `capacity` pages; what is lowered below what it holds leaves at the next miss. */
export interface ReferenceCache {
  capacity: number;
  /** Whether the key hit. */
  request(key: number): boolean;
  /** The key left for another reason than eviction. */
  remove(key: number): void;
}

function drop(list: number[], key: number): boolean {
  const at = list.indexOf(key);
  if (at >= 0) list.splice(at, 1);
  return at >= 0;
}

/** Megiddo and Modha, FAST'03, figure 4. Lists are oldest first. */
export class ReferenceArc implements ReferenceCache {
  capacity: number;
  private p = 0;
  private readonly t1: number[] = [];
  private readonly t2: number[] = [];
  private readonly b1: number[] = [];
  private readonly b2: number[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  request(key: number): boolean {
    const { t1, t2, b1, b2 } = this;
    if (drop(t1, key) || drop(t2, key)) {
      t2.push(key);
      return true;
    }
    const [isInB1, isInB2] = [b1.includes(key), b2.includes(key)];
    if (isInB1) this.p = Math.min(this.capacity, this.p + Math.max(1, b2.length / b1.length));
    if (isInB2) this.p = Math.max(0, this.p - Math.max(1, b1.length / b2.length));
    const isKnown = drop(b1, key) || drop(b2, key);
    while (t1.length + t2.length >= this.capacity) {
      if (isKnown) this.replace(isInB2);
      else this.makeRoomForNew();
    }
    (isKnown ? t2 : t1).push(key);
    this.keepBounds();
    return false;
  }

  remove(key: number): void {
    if (!drop(this.t1, key)) drop(this.t2, key);
  }

  /** Case IV. */
  private makeRoomForNew(): void {
    const { t1, t2, b1, b2, capacity } = this;
    if (t1.length >= capacity) {
      t1.shift();
      return;
    }
    if (t1.length + b1.length >= capacity) b1.shift();
    else if (t1.length + t2.length + b1.length + b2.length >= 2 * capacity) b2.shift();
    this.replace(false);
  }

  private replace(isInB2: boolean): void {
    const { t1, t2, b1, b2, p } = this;
    const takesFirst = t1.length > p || (isInB2 && t1.length === p) || t2.length === 0;
    if (t1.length > 0 && takesFirst) b1.push(...t1.splice(0, 1));
    else b2.push(...t2.splice(0, 1));
  }

  /** What the paper says of the lists and of p, also where pages are removed or c is lowered. */
  private keepBounds(): void {
    const { t1, t2, b1, b2, capacity } = this;
    this.p = Math.min(this.p, capacity);
    while (b1.length > 0 && t1.length + b1.length > capacity) b1.shift();
    const others = t1.length + t2.length + b1.length;
    b2.splice(0, Math.max(0, others + b2.length - 2 * capacity));
  }
}

/** Jiang and Zhang, SIGMETRICS'02, section 3.3, with the stack S and the queue Q, oldest first. */
export class ReferenceLirs implements ReferenceCache {
  capacity: number;
  private readonly stack: number[] = [];
  private readonly queue: number[] = [];
  private readonly lir = new Set<number>();

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  request(key: number): boolean {
    const { stack, queue, lir } = this;
    const isInStack = stack.includes(key);
    const isResidentHir = queue.includes(key);
    const isHit = lir.has(key) || isResidentHir;
    if (!isHit) while (lir.size + queue.length >= this.capacity) this.evict();
    // The room that was made may have taken it from the bottom.
    const isWanted = isHit ? isInStack : stack.includes(key);
    drop(stack, key);
    drop(queue, key);
    stack.push(key);
    if (!lir.has(key)) {
      if (isWanted || (!isHit && lir.size < this.lirMax)) lir.add(key);
      else queue.push(key);
      while (lir.has(key) && lir.size > this.lirMax && stack[0] !== key) this.demote();
    }
    this.prune();
    return isHit;
  }

  remove(key: number): void {
    if (!this.queue.includes(key) && !this.lir.has(key)) return;
    drop(this.stack, key);
    drop(this.queue, key);
    this.lir.delete(key);
    this.prune();
  }

  private get lirMax(): number {
    return this.capacity - Math.max(1, Math.floor(this.capacity * 0.01));
  }

  private evict(): void {
    if (this.queue.shift() !== undefined) return;
    this.lir.delete(this.stack.shift() ?? -1);
    this.prune();
  }

  private demote(): void {
    const bottom = this.stack.shift() ?? -1;
    this.lir.delete(bottom);
    this.queue.push(bottom);
    this.prune();
  }

  /** The bottom of the stack is an LIR page; without any it is empty. */
  private prune(): void {
    while (this.stack.length > 0 && !this.lir.has(this.stack[0] ?? -1)) this.stack.shift();
  }
}

/** Zhang et al., NSDI'24, algorithm 1. The list is oldest first. */
export class ReferenceSieve implements ReferenceCache {
  capacity: number;
  private readonly list: number[] = [];
  private readonly visited = new Set<number>();
  private hand: number | undefined;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  request(key: number): boolean {
    if (this.list.includes(key)) {
      this.visited.add(key);
      return true;
    }
    while (this.list.length >= this.capacity) this.evict();
    this.list.push(key);
    return false;
  }

  remove(key: number): void {
    const at = this.list.indexOf(key);
    if (at === -1) return;
    if (this.hand === key) this.hand = this.list[at + 1];
    this.list.splice(at, 1);
    this.visited.delete(key);
  }

  private evict(): void {
    const { list } = this;
    let at = this.hand === undefined ? 0 : list.indexOf(this.hand);
    while (this.visited.delete(list[at] ?? -1)) at = (at + 1) % list.length;
    this.hand = list[at + 1];
    list.splice(at, 1);
  }
}
