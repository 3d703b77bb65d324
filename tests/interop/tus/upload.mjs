// tus-js-client uploads a file to an address that it is given: node upload.mjs '{"url", "file", "piece", "stop"}'.
// It stops by itself after `stop` bytes, as if its network were gone, and tells what became of it in one line.
import { readFileSync } from 'node:fs'
import { Upload } from 'tus-js-client'

const { url, file, piece, stop } = JSON.parse(process.argv[2])
let first

const tell = (line) => console.log(JSON.stringify({ ...line, first }))

const upload = new Upload(readFileSync(file), {
  uploadUrl: url,
  chunkSize: piece,
  retryDelays: null,
  // The first offset that is told is where it goes on.
  onAfterResponse: (request, response) => {
    first ??= Number(response.getHeader('Upload-Offset'))
  },
  onChunkComplete: (_, uploaded) => {
    if (stop && uploaded >= stop) upload.abort().then(() => tell({ stopped: uploaded }))
  },
  onError: (error) => tell({ error: String(error) }),
  onSuccess: () => tell({ done: true }),
})
upload.start()
