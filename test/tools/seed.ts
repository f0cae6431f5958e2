import fc from 'fast-check';

/**
 * Where the random choices of a run begin: always at the same place, so that what fails fails again,
 * unless `TMEM_SEED` names another.
 */
export const SEED = Number(process.env.TMEM_SEED ?? 1);

// A greatest length is meant: without this an array has ten entries, whatever is said.
fc.configureGlobal({ seed: SEED, defaultSizeToMaxWhenMaxSpecified: true });

/** fast-check, which begins there too. */
export { fc };
