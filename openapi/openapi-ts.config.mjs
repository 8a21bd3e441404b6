// How `scripts/clients` makes the TypeScript client; it stands in the project's folder when it does.
export default {
  input: './openapi/openapi.json',
  // Node.js resolves only whole file names.
  output: { path: './target/clients/typescript/src/mtasts', importFileExtension: '.js' },
  plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
};
