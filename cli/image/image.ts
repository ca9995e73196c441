/** `nexus image ls`, `build`, `import`, `rm` */
import { NexusError } from '../../shared/errors.js';
import { ImportImageRequest, type Image, type ImportImageResponse } from '../../shared/gen/nexus/v1/image.js';
import { command } from '../runner/command.js';
import type { Context } from '../runner/context.js';
import { formatAge, formatBytes } from '../terminal/format.js';
import { table, widthOf } from '../terminal/output.js';
import { sendBytes } from '../local/send-bytes.js';
import { onEach } from '../runner/several.js';
import { imageShape } from '../runner/shapes.js';
import { openPieces } from '../local/source.js';

const expectImage = (image: Image | undefined): Image => {
  if (image === undefined) throw new NexusError('internal', 'the controller answered without an image');
  return image;
};

const show = async (context: Context, image: Image): Promise<void> => {
  const os = image.os === '' ? '' : `, ${image.os}`;
  if (image.leftOut !== '') context.note(`left out of image ${image.name}: ${image.leftOut}`);
  await context.print(imageShape(image), () => `image ${image.name}: ${formatBytes(Number(image.sizeBytes))}${os}`);
};

export const list = command({
  summary: 'list all images',
  positionals: {},
  flags: {},
  examples: [['nexus image ls', 'the images that nodes can be created from']],
  run: async (_input, context) => {
    const controller = await context.connect();
    const { images } = await controller.call(controller.image, controller.image.listImages, {});
    await context.print(images.map(imageShape), () =>
      images.length === 0
        ? 'no images; make the base image with: nexus image build'
        : table(
            [
              { title: 'NAME', least: 24, flexible: 'anywhere' },
              { title: 'SIZE', right: true },
              { title: 'NODES', leaveOut: 1, right: true },
              { title: 'AGE', leaveOut: 2, right: true },
              { title: 'SYSTEM', least: 16, flexible: 'words' },
            ],
            images.map((image) => [
              image.name,
              formatBytes(Number(image.sizeBytes)),
              String(image.nodes),
              formatAge(image.createdAt),
              image.problem === '' ? image.os : image.problem,
            ]),
            widthOf(context.streams.stdout),
          ),
    );
    return 0;
  },
});

export const build = command({
  summary: 'build the base image',
  details: 'Takes packages of the host’s own distribution; needs mmdebstrap and its package mirror.',
  positionals: {},
  flags: { name: { type: 'string', hint: 'NAME', description: 'name of the image (default base)' } },
  examples: [['nexus image build --name base-2', 'beside the existing one']],
  run: async (input, context) => {
    const controller = await context.connect();
    const stream = controller.image.buildImage({ name: input.name ?? '' });
    let image: Image | undefined;
    for await (const message of controller.messages(stream)) {
      if (message.progress !== undefined) context.note(message.progress);
      image = message.image ?? image;
    }
    context.throwIfInterrupted();
    await show(context, expectImage(image));
    return 0;
  },
});

export const importImage = command({
  summary: 'make an image from a tarball',
  details:
    'Any root file system can be used: the agent brings its own runtime. Archives may be plain, gzip, xz or zstd.',
  positionals: {
    name: { description: 'name of the image' },
    tarball: { description: 'archive, or - for standard input', completes: 'local' },
  },
  flags: {},
  examples: [
    ['nexus image import alpine alpine-minirootfs.tar.gz', 'then: nexus node create a --image alpine --storage 1G'],
    ['docker export box | nexus image import box -', 'from a pipe'],
  ],
  run: async (input, context) => {
    const { tarball } = input;
    const advice = `pipe an archive: tar c -C ${tarball} . | nexus image import NAME -`;
    const source = await openPieces(tarball, context, advice);
    try {
      const controller = await context.connect();
      const { image } = await sendBytes<ImportImageRequest, ImportImageResponse>(
        controller,
        (done) => controller.image.importImage(done),
        {
          first: ImportImageRequest.fromPartial({ start: { name: input.name } }),
          of: (data) => ImportImageRequest.fromPartial({ data }),
        },
        source,
        context.signal,
      );
      await show(context, expectImage(image));
    } finally {
      source.destroy();
    }
    return 0;
  },
});

export const remove = command({
  summary: 'remove images',
  details: 'With several names, each is tried, and every failure is reported.',
  positionals: { names: { description: 'names of images', completes: 'image', many: true, field: 'name' } },
  flags: {},
  examples: [
    ['nexus image rm alpine', 'refused while a node uses it'],
    ['nexus image rm alpine old', 'both'],
  ],
  run: async (input, context) => {
    const { image, call } = await context.connect();
    return await onEach(
      context,
      input.names,
      async (name) => {
        await call(image, image.removeImage, { name });
        return { name };
      },
      { shape: (removed) => removed, text: ({ name }) => `removed image ${name}` },
    );
  },
});
