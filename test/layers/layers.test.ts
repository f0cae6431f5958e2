import { describeLayerContract } from '../tmem/layer-contract.ts';
import { COMPOSITIONS } from './compositions.ts';

for (const [name, make] of Object.entries(COMPOSITIONS)) {
  describeLayerContract(name, (options) => make(options).layers);
}
