import fc from 'fast-check';

/**
 * Where the random choices of a run begin: always at the same place, so that what fails fails again,
 * unless `TMEM_SEED` names another.
 */
export const SEED = Number(process.env.TMEM_SEED ?? 1);

fc.configureGlobal({ seed: SEED });

/** fast-check, which begins there too. */
export { fc };
