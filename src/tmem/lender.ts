/**
 * Lending: a layer that holds pages as they are can let a reader send one from where it lies,
 * instead of copying it out.
 */

/** The page is not here, or can not be lent now: copy it with `get`. */
export const NO_LOAN = -1;

/**
 * A loan is a number. While a page is lent its bytes do not change and do not move, whatever is
 * put, flushed or evicted meanwhile; every loan must be returned exactly once.
 */
export interface Lender {
  /** `isUse` is as in `Layer.get`. */
  lend(pool: number, object: number, index: number, isUse?: boolean): number;
  /** Counts hits, of pages that were lent and will be sent. */
  countLent(count: number): void;
  /** The buffer that the lent page lies in, and where in it the page begins. */
  loanBuffer(loan: number): Buffer;
  loanOffset(loan: number): number;
  returnLoan(loan: number): void;
}
