import java.io.File;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

/** A real NameNode and a DataNode with WebHDFS, on loopback, until it is killed: java OneNodeHdfs.java FOLDER HTTP_PORT. */
public class OneNodeHdfs {
    public static void main(String[] arguments) throws Exception {
        HdfsConfiguration configuration = new HdfsConfiguration();
        // Without Kerberos a NameNode hands out delegation tokens only where it is told so.
        configuration.setBoolean("dfs.namenode.delegation.token.always-use", true);
        configuration.set("dfs.permissions.superusergroup", "hdfs");
        configuration.setInt("dfs.namenode.fs-limits.min-block-size", 1024);
        configuration.setInt("dfs.ls.limit", 3); // a folder is told in several answers
        MiniDFSCluster cluster = new MiniDFSCluster.Builder(configuration, new File(arguments[0]))
            .numDataNodes(1)
            .nameNodeHttpPort(Integer.parseInt(arguments[1]))
            .build();
        cluster.waitActive();
        System.out.println("HDFS is up");
        Thread.currentThread().join();
    }
}
